//! The records of the monolith, whoever is it.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn asked(stage: &Stage) -> usize {
    let called = stage.script.called.borrow();
    let fills = called
        .iter()
        .filter(|(action, _)| action == "meteor.getAutoUpdateClientVersions");
    fills.count()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_mirrors_are_filled_again_whenever_another_node_is_the_monolith() {
    let mut stage = Stage::new(1, World::default());
    tokio::task::spawn_local(crate::handlers::mirrors::run(stage.core.clone()));
    stage.pass(SECOND).await;
    assert_eq!(asked(&stage), 1);
    let mut fills = 1;
    for (monoliths, is_news) in [
        // A node that has been there offers it in a later INFO.
        (vec!["a"], true),
        (vec!["a"], false),
        (vec!["a", "b"], true),
        (vec!["b"], true),
        // There is nobody to ask.
        (vec![], false),
        (vec!["b"], true),
    ] {
        *stage.script.monoliths.borrow_mut() = monoliths.iter().map(|id| Arc::from(*id)).collect();
        stage.core.nodes_changed();
        stage.pass(SECOND).await;
        fills += usize::from(is_news);
        assert_eq!(asked(&stage), fills, "{monoliths:?}");
    }
}
