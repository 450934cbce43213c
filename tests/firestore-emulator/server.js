// gRPC front for @firebase-bridge/firestore-admin (in-memory Firestore), so that any Firestore client
// (here: Rust `firestore`) can use it through FIRESTORE_EMULATOR_HOST. Loopback only; see README.md.
const fs = require('fs');
const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const { FirestoreMock } = require('@firebase-bridge/firestore-admin');
const fsdir = path.dirname(require.resolve('@google-cloud/firestore/package.json'));
const gaxdir = path.join(path.dirname(require.resolve('google-gax')), '../..');
const pkg = loader.loadSync('google/firestore/v1/firestore.proto', {
  keepCase: false, longs: String, enums: String, defaults: false, oneofs: true, arrays: false, objects: false,
  includeDirs: [path.join(fsdir, 'build/protos'), path.join(gaxdir, 'build/protos')],
});
const svc = grpc.loadPackageDefinition(pkg).google.firestore.v1.Firestore.service;

const env = new FirestoreMock();
// The mock detects transaction conflicts by comparing millisecond times: make every reading of the clock unique,
// else two commits within one millisecond are not seen as a conflict (lost update).
let last = 0, replayed = 0;
env.systemTime.now = () => { last = Math.max(last + 1, replayed || Date.now()); return new Date(last); };
// FIRESTORE_EMULATOR_FILE: every commit is appended to this file and made again at the next start, so that a test
// can kill the server and find its documents after the restart.
const file = process.env.FIRESTORE_EMULATOR_FILE;
function keep(kind, database, writes) {
  if (file && !replayed && writes?.length) fs.appendFileSync(file, JSON.stringify({ kind, at: last, database, writes }) + '\n');
}
// What was read is noted there too, so that a test can tell that something was not.
function read(names = []) {
  if (file && !replayed) fs.appendFileSync(file, JSON.stringify({ read: names }) + '\n');
}
const collections = (q) => (q?.from || []).map((it) => it.collectionId);
// While the file with `.refuse` after its name is there, batches in which a write has this text are refused: that
// write alone (`each`), or the whole batch or commit (`whole`), with this code.
function refusal() {
  try { return JSON.parse(fs.readFileSync(file + '.refuse', 'utf8')); } catch { return null; }
}
const has = (w, it) => !!it && JSON.stringify(w).includes(it.text);
// While the file with `.hold` after its name is there, no listener hears anything.
const unheard = [];
function tell(call, d) { if (unheard.push([call, d]) === 1) tellAll(); }
function tellAll() {
  if (file && fs.existsSync(file + '.hold')) return setTimeout(tellAll, 10);
  for (const [call, d] of unheard.splice(0)) call.write(d);
}
const revive = (_, v) => (v && v.type === 'Buffer' && Array.isArray(v.data) ? Buffer.from(v.data) : v);
async function replay() {
  if (!file || !fs.existsSync(file)) return;
  for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
    // A line that the kill cut off was never answered.
    let it; try { it = JSON.parse(line, revive); } catch { continue; }
    if (!it.kind) continue;
    replayed = it.at;
    await client(it.database)[it.kind]({ database: it.database, writes: it.writes });
  }
  replayed = 0;
}
// Firestore applies transforms after the update of the same write; the mock applies them to the old document.
// Split such a write into two and merge the results.
function split(writes = []) {
  const out = [], back = [];
  for (const w of writes) {
    back.push(out.length);
    if (w.update && w.updateTransforms?.length) {
      const masked = w.updateMask && !(w.updateMask.fieldPaths?.length);
      if (!masked) { const { updateTransforms, ...u } = w; out.push(u);
        out.push({ update: { name: w.update.name, fields: {} }, updateMask: { fieldPaths: [] }, updateTransforms }); continue; }
    }
    out.push(w);
  }
  return { out, back };
}
function merge(res, { out, back }) {
  const pick = (a) => a && back.map((i, k) => { const end = k + 1 < back.length ? back[k + 1] : out.length; return a[end - 1]; });
  return { ...res, writeResults: pick(res.writeResults), ...(res.status ? { status: pick(res.status) } : {}) };
}
const clients = new Map(); // "project/db" -> gapic
function client(name) {
  const m = /^projects\/([^/]+)\/databases\/([^/]+)/.exec(name || '');
  if (!m) throw Object.assign(new Error('bad resource name ' + name), { code: grpc.status.INVALID_ARGUMENT });
  const key = m[1] + '/' + m[2];
  let c = clients.get(key);
  if (!c) {
    const ctl = env.databaseExists(m[1], m[2]) ? env.getDatabase(m[1], m[2]) : env.createDatabase(m[1], m[2]);
    const firestore = ctl.firestore();
    const inner = firestore._clientPool.clientFactory ? firestore._clientPool.clientFactory() : firestore._clientPool;
    const kept = (kind) => async (q) => {
      const r = await inner[kind](q);
      const ok = (_, i) => !r[0].status || !r[0].status[i]?.code;
      keep(kind, q.database, q.writes?.filter(ok).map(({ currentDocument, ...w }) => w));
      return r;
    };
    const kinds = { commit: kept('commit'), batchWrite: kept('batchWrite') };
    c = new Proxy(inner, { get: (t, k) => kinds[k] || (typeof t[k] === 'function' ? t[k].bind(t) : t[k]) });
    clients.set(key, c);
  }
  return c;
}
const fail = (e) => ({ code: typeof e.code === 'number' ? e.code : grpc.status.UNKNOWN, details: e.message || String(e) });
const unary = (f) => async (call, cb) => { try { cb(null, await f(call.request, call)); } catch (e) { cb(fail(e)); } };
const first = async (p) => (await p)[0];
const collect = (stream) => new Promise((res, rej) => { const a = []; stream.on('data', (d) => a.push(d)); stream.on('end', () => res(a)); stream.on('error', rej); });
const pump = (f) => (call) => {
  let s; try { s = f(call.request); } catch (e) { return call.emit('error', fail(e)); }
  s.on('data', (d) => call.write(d)); s.on('end', () => call.end());
  s.on('error', (e) => call.emit('error', fail(e)));
  call.on('cancelled', () => s.destroy());
};
async function getOne(c, name, extra = {}) {
  const r = await collect(c.batchGetDocuments({ database: name.split('/documents')[0], documents: [name], ...extra }));
  const d = r.find((x) => x.found);
  if (!d) throw Object.assign(new Error(`Document "${name}" not found.`), { code: grpc.status.NOT_FOUND });
  return d.found;
}
// Firestore leaves out documents without an ordered-by field; the mock keeps them: ask for the field explicitly.
function orderedFieldsExist(sq) {
  const fs = (sq?.orderBy || []).map((o) => o.field).filter((f) => f && f.fieldPath !== '__name__');
  if (!fs.length) return;
  const un = (op, field) => ({ unaryFilter: { op, field } });
  const add = fs.map((f) => ({ compositeFilter: { op: 'OR', filters: [un('IS_NULL', f), un('IS_NOT_NULL', f)] } }));
  const all = sq.where ? [sq.where, ...add] : add;
  sq.where = all.length > 1 ? { compositeFilter: { op: 'AND', filters: all } } : all[0];
}
// Names alone are indexed upwards only.
function hasIndex(sq) {
  const o = sq?.orderBy?.[0];
  if (o?.field?.fieldPath === '__name__' && o.direction === 'DESCENDING' && !sq.where)
    throw Object.assign(new Error('The query requires an index.'), { code: grpc.status.FAILED_PRECONDITION });
}
// Firestore takes 30 values in one IN; the mock takes 10: ask for each value by itself.
function manyValues(sq) {
  const f = sq?.where?.fieldFilter;
  const values = f?.op === 'IN' ? f.value?.arrayValue?.values || [] : [];
  if (values.length <= 10 || values.length > 30) return;
  const equal = (value) => ({ fieldFilter: { field: f.field, op: 'EQUAL', value } });
  sq.where = { compositeFilter: { op: 'OR', filters: values.map(equal) } };
}
const dbOf = (name) => name.split('/documents')[0];
const autoId = () => require('crypto').randomBytes(15).toString('base64url').replace(/[-_]/g, 'x').slice(0, 20);
// The mock knows neither resume tokens nor read times: it sends every document again. What is older is held back here.
const msOf = (t) => Number(t?.seconds || 0) * 1000 + Math.floor((t?.nanos || 0) / 1e6);
function resumed() {
  const since = new Map();
  return {
    asked(target) {
      if (!target) return;
      if (target.resumeToken?.length) since.set(target.targetId, Number(target.resumeToken.toString()));
      else if (target.readTime) since.set(target.targetId, msOf(target.readTime));
      delete target.resumeToken; delete target.readTime; delete target.resumeType;
    },
    isOld(d) {
      const change = d.targetChange;
      if (change?.readTime) change.resumeToken = Buffer.from(String(msOf(change.readTime)));
      if (change?.targetChangeType === 'CURRENT') for (const id of change.targetIds || []) since.delete(id);
      const doc = d.documentChange;
      return !!doc && (doc.targetIds || []).every((id) => since.has(id) && msOf(doc.document.updateTime) <= since.get(id));
    },
  };
}
const impl = {
  getDocument: unary(async (q) => getOne(client(q.name), q.name, q.transaction?.length ? { transaction: q.transaction } : q.readTime ? { readTime: q.readTime } : {})),
  createDocument: unary(async (q) => {
    const c = client(q.parent); const name = `${q.parent}/${q.collectionId}/${q.documentId || autoId()}`;
    await c.commit({ database: dbOf(name), writes: [{ update: { name, fields: q.document?.fields }, currentDocument: { exists: false } }] });
    return getOne(c, name);
  }),
  updateDocument: unary(async (q) => {
    const name = q.document.name; const c = client(name);
    await c.commit({ database: dbOf(name), writes: [{ update: { name, fields: q.document.fields }, updateMask: q.updateMask, currentDocument: q.currentDocument }] });
    return getOne(c, name);
  }),
  deleteDocument: unary(async (q) => { const c = client(q.name); await c.commit({ database: dbOf(q.name), writes: [{ delete: q.name, currentDocument: q.currentDocument }] }); return {}; }),
  beginTransaction: unary((q) => first(client(q.database).beginTransaction({ ...q, options: q.options || { readWrite: {} } }))),
  commit: unary(async (q) => {
    if (q.transaction && !q.transaction.length) delete q.transaction;
    const c = client(q.database); const sp = split(q.writes);
    const no = refusal();
    try {
      if (no?.whole && q.writes?.some((w) => has(w, no))) throw Object.assign(new Error('refused'), { code: no.whole });
      return merge(await first(c.commit({ ...q, writes: sp.out })), sp);
    }
    catch (e) { // the mock leaves an aborted transaction active, and then refuses it as retryTransaction
      if (q.transaction) await c.rollback({ database: q.database, transaction: q.transaction }).catch(() => {});
      throw e; }
  }),
  rollback: unary((q) => first(client(q.database).rollback(q))),
  batchWrite: unary(async (q) => {
    const no = refusal(); const bad = (q.writes || []).map((w) => has(w, no));
    if (no?.whole && bad.includes(true)) throw Object.assign(new Error('refused'), { code: no.whole });
    const sp = split(q.writes.filter((_, i) => !bad[i]));
    const r = sp.out.length ? merge(await first(client(q.database).batchWrite({ ...q, writes: sp.out })), sp) : { writeResults: [], status: [] };
    const status = [...r.status], results = [...r.writeResults];
    return { writeResults: bad.map((it) => (it ? {} : results.shift())), status: bad.map((it) => (it ? { code: no.each } : status.shift())) };
  }),
  listCollectionIds: unary(async (q) => ({ collectionIds: await first(client(q.parent).listCollectionIds(q)) })),
  listDocuments: unary(async (q) => {
    // page over the mock's full listing
    const all = await first(client(q.parent).listDocuments({ parent: q.parent, collectionId: q.collectionId, showMissing: q.showMissing }));
    all.sort((a, b) => (a.name < b.name ? -1 : 1));
    const from = q.pageToken ? parseInt(q.pageToken, 10) : 0; const n = q.pageSize || 100;
    return { documents: all.slice(from, from + n), nextPageToken: from + n < all.length ? String(from + n) : '' };
  }),
  batchGetDocuments: pump((q) => { if (q.transaction && !q.transaction.length) delete q.transaction; read(q.documents); return client(q.database).batchGetDocuments(q); }),
  runQuery: pump((q) => { read(collections(q.structuredQuery)); hasIndex(q.structuredQuery); orderedFieldsExist(q.structuredQuery); manyValues(q.structuredQuery); if (q.transaction && !q.transaction.length) delete q.transaction; return client(q.parent).runQuery(q); }),
  runAggregationQuery: pump((q) => (read(collections(q.structuredAggregationQuery?.structuredQuery)), orderedFieldsExist(q.structuredAggregationQuery?.structuredQuery), client(q.parent).runAggregationQuery(q))),
  listen: (call) => {
    let s;
    const resume = resumed();
    call.on('data', (q) => {
      try {
        resume.asked(q.addTarget);
        if (!s) { s = client(q.database).listen();
          s.on('data', (d) => resume.isOld(d) || tell(call, d)); s.on('end', () => call.end());
          s.on('error', (e) => call.emit('error', fail(e))); }
        s.write(q);
      } catch (e) { call.emit('error', fail(e)); }
    });
    const stop = () => { if (s) s.destroy(); }; call.on('end', () => { stop(); call.end(); }); call.on('cancelled', stop); call.on('error', stop);
  },
  write: (call) => {
    let n = 0; let chain = Promise.resolve(); const id = autoId();
    call.on('data', (q) => { chain = chain.then(async () => {
      if (n++ === 0) { call.write({ streamId: id, streamToken: Buffer.from([0]) }); if (!q.writes?.length) return; }
      try { const r = await first(client(q.database).commit({ database: q.database, writes: q.writes }));
        call.write({ streamId: id, streamToken: Buffer.from(String(n)), writeResults: r.writeResults, commitTime: r.commitTime });
      } catch (e) { call.emit('error', fail(e)); } }); });
    call.on('end', () => chain.then(() => call.end()));
  },
};
const s = new grpc.Server({ 'grpc.max_receive_message_length': 16 << 20 });
s.addService(svc, impl);
// Port 0 is a free one: what was bound is printed.
const addr = process.env.FIRESTORE_EMULATOR_HOST || '127.0.0.1:8686';
replay().then(() => s.bindAsync(addr, grpc.ServerCredentials.createInsecure(), (e, port) => {
  if (e) throw e;
  console.log('ready', addr.replace(/:\d+$/, ':' + port), Math.round(process.uptime() * 1000) + ' ms');
}));
