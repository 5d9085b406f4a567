//! Rollouts from the side of deployctl: what is written, what is waited for, how it ends.

mod ctl_rig;

use ctl_rig::Rig;
use deploy_core::wire::role::Role;

#[tokio::test]
async fn a_build_goes_over_the_canary_to_the_fleet() {
    let hosts = [("web-01", Role::Canary), ("web-02", Role::Fleet), ("web-03", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("over-the-canary", &hosts).await else { return };
    agents.into_iter().for_each(ctl_rig::Agent::serves_always);
    rig.ctl("deploy web r1 -m first").await.is(0).says(&[
        "#1 web  deploy",
        "\"first\" (3 hosts)",
        "web #1: deploy done, r1 is served by 3 of 3 hosts",
    ]);
    let canary = rig.ctl("canary web r2 -m 'checkout fix'").await.is(0);
    canary
        .says(&["#2 web  canary", "r1 -> r2", "(1 host)", "web-01", "r2 is served by 1 of 1 host"])
        .says(&["tip: deployctl promote web"]);
    let target = rig.json(&rig.tree("web").canary()).await;
    assert_eq!(target["rollout"], 2);
    assert_eq!(target["previous"]["build"], "r1");
    assert_eq!(target["artifact"]["url"], "https://builds/r2.tar.gz");

    rig.ctl("promote web").await.is(0).says(&["#3 web  promote", "r2 is served by 3 of 3 hosts"]);
    assert!(!rig.exists(&rig.tree("web").canary()).await);
    let target = rig.json(&rig.tree("web").enabled()).await;
    assert_eq!(target["build"], "r2");
    assert_eq!(target["why"], "checkout fix");
    let history = rig.history("web").await;
    let shown: Vec<String> = history
        .iter()
        .map(|(number, entry)| {
            let outcome = entry.outcome.as_ref().expect("deployctl saw the end");
            format!("{number} {} {} {}", entry.kind, outcome.result, outcome.hosts)
        })
        .collect();
    assert_eq!(shown, ["1 deploy done 3", "2 canary done 1", "3 promote done 3"]);
    rig.ctl("status").await.is(0).prints(&["web", "done", "#3", "r2", "-", "3/3", "0/1"]);
}
