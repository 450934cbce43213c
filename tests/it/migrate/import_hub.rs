//! `waba-migrate import hub`: each number is a vendor, and its project is where its events go.

use std::{fs, time::Instant};

use serde_json::{Value, json};
use waba_gateway::{
    domain::route::ProviderKind,
    twin::{NewMetaNumber, NewSession},
};

use super::{
    import::{Scene, each_store, hook_of},
    place::{Place, Ran, vendor_id},
};
use crate::support::{Bot, DEADLINE, TestVendor};

const APPS: &str = "id,business_id,name,verify_token,access_token,app_secret\n\
    app_1,b_1,Shop,marked-verify-1,marked-access-token-1,marked-app-secret-1\n\
    app_2,b_1,Spare,marked-verify-2,,marked-app-secret-2\n";
const NUMBERS: &str = "phone_number_id,app_id,phone_number,display_name\n";
const PROJECTS: &str = "id,name,endpoint,description,is_active\n";
const MAPPINGS: &str = "id,phone_number_id,project_id,priority,is_active\n";

#[tokio::test]
async fn an_imported_hubs_project_gets_its_numbers_events() {
    each_store(async |emulator| {
        let project = Bot::start(&[(200, Value::Null)]).await;
        let nobody = Bot::start(&[(200, json!({ "type": "text", "message": "no" }))]).await;
        // Customers of a hub's numbers are answered by its projects, not by who answers others.
        let scene = Scene::new(emulator, &[("RESPONSE_API_URL", nobody.url.clone())]).await;
        let number = scene.meta.add_number(NewMetaNumber::new("+221770000001"));
        let spare = scene.meta.add_number(NewMetaNumber::new("+221770000002").beside(&number));
        let apps = format!(
            "id,business_id,name,verify_token,access_token,app_secret\napp,b,A,{},{},{}\n",
            number.verify_token, number.access_token, number.app_secret
        );
        let (id, spare) = (&number.id, &spare.id);
        let numbers =
            format!("{NUMBERS}{id},app,{},Dakar\n{spare},app,221770000002,\n", number.phone_number);
        let files = [
            scene.file("mappings.csv", &format!("{MAPPINGS}1,{id},p,5,t\n2,{id},q,9,f\n")),
            scene.file("projects.csv", &format!("{PROJECTS}p,P,{},,1\nq,Q,,,0\n", project.url)),
            scene.file("apps.csv", &apps),
            scene.file("numbers.csv", &numbers),
        ];
        let mut arguments = vec!["hub"];
        arguments.extend(files.iter().map(String::as_str));
        arguments.extend(["--report", "done.csv"]);
        let ran = scene.import(&arguments).await;
        ran.says(0, &["7 rows: 2 created", "; 3 taken, 2 not kept, 0 left out"]);
        ran.says(0, &["created; no active project: nobody is told of its events"]);
        ran.says(0, &["apps line 2", "taken: its secrets are in 2 numbers"]);
        let report = fs::read_to_string(scene.app.directory.path().join("done.csv")).unwrap();
        scene.says(&number, &hook_of(&report, id), "bonjour").await;
        let vendor = TestVendor {
            id: vendor_id(id),
            phone: number.phone_number.clone(),
            session: scene.app.twin.add_session(NewSession::new("+221770009999")),
            hook: String::new(),
        };
        scene.app.until(&vendor, |it| it.len() == 1).await;
        let started = Instant::now();
        while project.n_asked() == 0 {
            assert!(started.elapsed() < DEADLINE, "the project was told nothing");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let told = project.last();
        assert_eq!(
            (&told["type"], &told["data"]["message"]),
            (&"message.received".into(), &"bonjour".into())
        );
        scene.app.settled().await;
        assert_eq!((nobody.n_asked(), scene.meta.sends().len()), (0, 0));
        scene.import(&arguments).await.says(0, &["0 created, 0 updated, 2 unchanged"]);
        drop(scene.emulator);
    })
    .await;
}

/// Runs an import of a hub's tables.
fn hub(place: &Place, numbers: &str, projects: &str, mappings: &str, more: &[&str]) -> Ran {
    let file = |head: &str, rows: &str| place.raw_file(format!("{head}{rows}"));
    let business = file("business_id,name,timezone\n", "b_1,Groupe,Africa/Dakar\n");
    let files = [
        business,
        file(APPS, ""),
        file(NUMBERS, numbers),
        file(PROJECTS, projects),
        file(MAPPINGS, mappings),
    ];
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    place.run(&[&["import", "hub"], &files[..], more].concat())
}

const HUB_NUMBERS: &str = "101,app_1,+221770000101,Dakar\n102,app_1,+221770000102,\n\
    103,app_1,+221770000103,Thiès\n104,app_1,+221770000104,\n";
const HUB_PROJECTS: &str = "p,P,https://p.example/in?key=marked,,true\nq,Q,https://q.example,,true\n\
    r,R,https://r.example,,false\ns,S,https://s.example,,true\n";
const HUB_MAPPINGS: &str = "1,101,p,0,true\n2,101,r,9,true\n3,102,p,1,true\n4,102,q,2,true\n\
    5,103,p,0,true\n6,103,q,0,true\n7,104,q,0,false\n";

#[tokio::test]
async fn every_row_of_a_hub_is_told_and_several_projects_of_one_number_are_not_guessed() {
    let place = Place::new();
    let report = place.dir.path().join("done.csv");
    let on_report = ["--report", report.to_str().unwrap()];
    let ran = hub(&place, HUB_NUMBERS, HUB_PROJECTS, HUB_MAPPINGS, &on_report);
    let many = "left out: the number has 2 active projects, and here a vendor's events go to one address\n";
    let off = "not kept: it or its project is switched off\n";
    let wanted = [
        "business accounts line 2  not kept: here each number is a vendor, and there is nothing above; timezone is not kept\n".to_owned(),
        "apps line 2  taken: its secrets are in 2 numbers\n".to_owned(),
        "apps line 3  not kept: no number belongs to it\n".to_owned(),
        "phone numbers line 2  101  created  https://gw.example/base/api/webhooks/meta/101\n".to_owned(),
        format!("phone numbers line 3  102  {many}"),
        format!("phone numbers line 4  103  {many}"),
        "phone numbers line 5  104  created; no active project: nobody is told of its events".to_owned(),
        "projects line 2  taken: it gets the events of 1 number\n".to_owned(),
        "projects line 3  left out: it gets no number's events: see its mappings\n".to_owned(),
        "projects line 4  not kept: no number is mapped to it, or it is switched off\n".to_owned(),
        "projects line 5  not kept: no number is mapped to it, or it is switched off\n".to_owned(),
        "mappings line 2  101  taken: its project gets the number's events\n".to_owned(),
        format!("mappings line 3  {off}"),
        format!("mappings line 4  {many}"),
        format!("mappings line 7  {many}"),
        format!("mappings line 8  {off}"),
        "18 rows: 2 created, 0 updated, 0 unchanged, 0 bad; 3 taken, 6 not kept, 7 left out\n".to_owned(),
    ];
    ran.says(1, &wanted.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!ran.all().contains("marked"), "{}", ran.all());
    // The highest priority, where somebody says so; where two have it, nobody can tell.
    let first = [&on_report[..], &["--first-project"]].concat();
    let ran = hub(&place, HUB_NUMBERS, HUB_PROJECTS, HUB_MAPPINGS, &first);
    ran.says(1, &["phone numbers line 3  102  created", "phone numbers line 4  103  left out: "]);
    ran.says(
        1,
        &["mappings line 4  left out: the number's events go to the project of line 5 alone"],
    );
    // On record is what is new, and each row once.
    let told = fs::read_to_string(&report).unwrap();
    let of = |start: &str| told.lines().filter(|it| it[24..].starts_with(start)).count();
    let line_5 = [",5,,mappings,left out", ",5,102,mappings,taken", ",2,101,phone numbers,created"];
    assert_eq!((line_5.map(of), of(",2,101,phone"), of(",7,")), ([1, 1, 1], 1, 1), "{told}");
    assert!(!told.contains("marked") && !told.contains("22177"), "{told}");
    let opened = place.open();
    for (id, url) in [("101", "https://p.example/in?key=marked"), ("102", "https://q.example")] {
        let vendor = opened.vendor(id).await.unwrap();
        assert_eq!((vendor.forward_url.as_deref(), vendor.auto_reply), (Some(url), false));
    }
    assert_eq!(opened.vendor("101").await.unwrap().business_name, "Dakar");
    let number = opened.instance("104").await.unwrap();
    assert_eq!(
        (number.provider, number.phone_number.digits()),
        (ProviderKind::Meta, "221770000104")
    );
    assert!(number.meta.unwrap().access_token.is_some());
    assert!(opened.vendor("103").await.is_none());
}

#[test]
fn a_bad_row_of_a_hub_is_told_and_its_numbers_stay_away() {
    let place = Place::new();
    let numbers = "101,app_1,+221770000101,\n102,app_9,+221770000102,\n101,app_1,+221770000103,\n\
        104,app_1,+221770000104,\n";
    let projects =
        "p,P,file:///etc,,true\nq,Q,http://127.0.0.1/x,,maybe\nr,R,https://r.example,,\n";
    let mappings =
        "1,104,p,0,true\n2,104,r,high,true\n3,9,r,0,true\n4,104,r,1,true\n5,104,r,1,true\n";
    let ran = hub(&place, numbers, projects, mappings, &["--keep-going"]);
    ran.says(
        1,
        &[
            "phone numbers line 2 (101): phone_number_id is also in line 4\n",
            "phone numbers line 3 (102): app_id: is in none of the rows that it should name\n",
            "phone numbers line 5 (104): phone_number_id: mappings line 3, which belongs to it, is bad\n",
            "projects line 2: endpoint: is not an http or https URL\n",
            "projects line 3: is_active: is neither true nor false\n",
            "mappings line 3: priority: is not a whole number; project_id is also in line 5\n",
            "mappings line 4: phone_number_id: is in none of the rows that it should name\n",
            "mappings line 6: project_id is also in line 3\n",
            "nothing was written\n",
        ],
    );
    assert!(!place.data().exists());
}
