// The usual way to take webhooks: Express checks the signature, BullMQ puts them into Redis, then
// the answer is 200. Two processes share the port. Duplicates are known by the job's id.
import cluster from 'node:cluster';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { Queue } from 'bullmq';
import express from 'express';

const PROCESSES = 2;
const VENDOR = /^vendor_(\d{6})$/;

// As the load generator has them.
const secretOf = (number) => `whsec_bench_${number}_0123456789abcdef`;

function isSigned(vendor, signature, body) {
  const number = VENDOR.exec(vendor)?.[1];
  if (!number || !/^[0-9a-f]{64}$/.test(signature ?? '')) return false;
  const mac = createHmac('sha256', secretOf(number)).update(body).digest();
  return timingSafeEqual(mac, Buffer.from(signature, 'hex'));
}

function serve() {
  const connection = { host: '127.0.0.1', port: Number(process.env.REDIS_PORT) };
  const queue = new Queue('hooks', { connection });
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use(express.raw({ type: '*/*', limit: '3mb' }));
  app.post('/api/webhooks/wasender/:vendor', async (request, response) => {
    const { vendor } = request.params;
    if (!isSigned(vendor, request.get('x-wasender-signature'), request.body)) {
      return response.status(401).json({ error: 'not proven' });
    }
    const hook = JSON.parse(request.body);
    const { key } = hook.data.messages;
    // Equal messages of a vendor have one id, and a job whose id is there already is not added.
    const jobId = `${vendor}-${key.remoteJid}-${key.id}`.replaceAll(':', '-');
    await queue.add('message', hook, { jobId });
    response.json({ success: true, status: 'received', processId: jobId });
  });
  app.listen(Number(process.env.PORT), '127.0.0.1', () => process.send('listening'));
}

if (cluster.isPrimary) {
  let n = 0;
  for (let i = 0; i < PROCESSES; i += 1) {
    cluster.fork().on('message', () => {
      n += 1;
      if (n === PROCESSES) console.log('listening');
    });
  }
} else {
  serve();
}
