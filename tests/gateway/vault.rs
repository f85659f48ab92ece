//! Rotations: tokens replaced on disk in the ways that people and orchestrators replace them, and tokens that the
//! backend no longer takes. What it refuses to know: how secrets are kept in memory.

use std::path::Path;

use lightkeeper::otlp::Encoding;
use testkit::{Sample, World};

use super::stage::{self, eventually};
use crate::folder::Folder;

const HELD: &str = "checkout-prod: { access_token: [{ file: secrets/checkout-prod }] }";

/// The values of the access tokens that the backend was shown since the last `clear`.
fn presented(world: &World) -> Vec<String> {
    world
        .emulator
        .captured()
        .iter()
        .flat_map(|captured| captured.header("lightstep-access-token"))
        .collect()
}

async fn export(world: &World) -> u16 {
    let caller = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"));
    caller
        .export(&Sample::traces("checkout", 1), Encoding::Protobuf)
        .await
        .unwrap()
        .status
}

/// Lets the world follow its files, and returns when it does: when it has noticed a change.
pub async fn follow_files(world: &World) {
    tokio::spawn(world.gateway.clone().watch());
    let config = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let changes = std::sync::atomic::AtomicU64::new(0);
    eventually("a first reload", || async {
        let change = changes.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        stage::replace(&config, format!("{text}\n# change {change}\n"));
        world
            .records()
            .iter()
            .any(|record| record["event"] == "reload")
            .then_some(())
    })
    .await;
}

/// Waits until an export goes out with this token and is taken; until then, nothing worse than 503 may be said.
async fn comes_with(world: &World, token: &str) {
    eventually("an export with the new token", || async {
        world.emulator.clear();
        let status = export(world).await;
        assert!(status == 200 || status == 503, "{status}");
        (status == 200 && presented(world) == [token]).then_some(())
    })
    .await;
    let reload = eventually("the reload's record", || async {
        let records = world.records();
        records.into_iter().find(|record| {
            record["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("credentials: "))
        })
    })
    .await;
    assert_eq!(reload["event"], "reload");
}

/// Scenario: a token's file is replaced, and the old token deactivated.
/// Guarantees: the gateway notices by itself; exporters are never told 401 or 403.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_file_is_noticed() {
    let world = stage::start(stage::plan(&[])).await;
    follow_files(&world).await;
    world
        .emulator
        .add_access_token("checkout-prod", "fresh-token-7a21");
    world
        .emulator
        .set_access_token_active(&testkit::Emulator::access_token("checkout-prod"), false);
    assert_eq!(export(&world).await, 503);
    stage::replace(
        &world.folder().join("secrets/checkout-prod"),
        "fresh-token-7a21\n",
    );
    comes_with(&world, "fresh-token-7a21").await;
}

/// Scenario: a Kubernetes secret volume is updated: `..data` is swapped beneath the file's own link.
/// Guarantees: the change is noticed, although the named file itself did not change.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swapped_secret_volume_is_noticed() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new();
    let generation = |name: &str, token: &str| {
        std::fs::create_dir(folder.join(name)).unwrap();
        std::fs::write(folder.join(name).join("token"), token).unwrap();
    };
    generation("..first", &testkit::Emulator::access_token("checkout-prod"));
    symlink("..first", folder.join("..data")).unwrap();
    symlink("..data/token", folder.join("token")).unwrap();
    let held = format!(
        "checkout-prod: {{ access_token: [{{ file: {} }}] }}",
        folder.at("token")
    );
    let world = stage::start(stage::plan(&[(HELD, &held)])).await;
    follow_files(&world).await;
    assert_eq!(export(&world).await, 200);

    world
        .emulator
        .add_access_token("checkout-prod", "fresh-token-7a22");
    generation("..second", "fresh-token-7a22");
    symlink("..second", folder.join("..data_tmp")).unwrap();
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    std::fs::remove_dir_all(folder.join("..first")).unwrap();
    comes_with(&world, "fresh-token-7a22").await;
}

async fn with_two_tokens(folder: &Folder) -> World {
    with_two_tokens_in(folder, |plan| plan).await
}

async fn with_two_tokens_in(
    folder: &Folder,
    change: impl Fn(stage::WorldPlan) -> stage::WorldPlan,
) -> World {
    std::fs::write(folder.join("second"), "second-token-91c0").unwrap();
    let held = format!(
        "checkout-prod: {{ access_token: [{{ file: secrets/checkout-prod }}, {{ file: {} }}] }}",
        folder.at("second")
    );
    let world = stage::start(change(stage::plan(&[(HELD, &held)]))).await;
    world
        .emulator
        .add_access_token("checkout-prod", "second-token-91c0");
    world
        .emulator
        .set_access_token_active(&testkit::Emulator::access_token("checkout-prod"), false);
    world
}

/// Scenario: the backend refuses the first of two tokens, over HTTP and over gRPC.
/// Guarantees: the same export is sent again with the second and accepted; an operator is told by event and metric,
/// which name the project and a digest; the next export begins with the token that works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_token_is_tried() {
    let first = testkit::Emulator::access_token("checkout-prod");
    for grpc in [false, true] {
        let folder = Folder::new();
        let world = with_two_tokens(&folder).await;
        let caller = world
            .plain_caller()
            .bearer(&world.issuer.token("checkout-collector"));
        let sample = Sample::traces("checkout", 2);
        for expected in [
            vec![first.as_str(), "second-token-91c0"],
            vec!["second-token-91c0"],
        ] {
            world.emulator.clear();
            if grpc {
                assert_eq!(
                    caller.export_grpc(&sample).await.unwrap().grpc_status(),
                    Some(0)
                );
            } else {
                assert_eq!(
                    caller
                        .export(&sample, Encoding::Protobuf)
                        .await
                        .unwrap()
                        .status,
                    200
                );
            }
            assert_eq!(presented(&world), expected, "grpc {grpc}");
            let captured = world.emulator.captured();
            assert!(
                captured
                    .iter()
                    .all(|one| one.complete && one.body == captured[0].body),
                "grpc {grpc}"
            );
            assert_eq!(world.emulator.exports().len(), 1);
        }
        let event = stage::event(&world, "credential_refused").await;
        let detail = event["detail"].as_str().unwrap();
        assert!(
            detail.contains("checkout-prod") && !detail.contains(&first),
            "{detail}"
        );
        stage::counts(
            &world,
            r#"lightkeeper_credential_refusals_total{project="checkout-prod"}"#,
            1.0,
        )
        .await;
        let calls: Vec<_> = stage::records(&world, 4)
            .await
            .into_iter()
            .filter(|record| record["event"] == "call")
            .collect();
        assert!(
            calls
                .iter()
                .all(|call| call["reason"] == "ok" && call["upstream_status"] == 200),
            "{calls:?}"
        );
    }
}

/// Scenario: the refused export is streamed, and larger than what is kept for a second sending.
/// Guarantees: 503, so that the exporter sends it again itself; then the second token is in use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_too_large_to_keep_is_the_exporters_to_repeat() {
    let folder = Folder::new();
    let world = with_two_tokens_in(&folder, stage::streamed).await;
    let caller = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"));
    let sample = Sample::traces("checkout", 2000);
    assert!(sample.protobuf().len() > 64 << 10);
    let answer = caller.export(&sample, Encoding::Protobuf).await.unwrap();
    assert_eq!(
        (answer.status, answer.header("retry-after").is_some()),
        (503, true)
    );
    assert_eq!(
        caller
            .export(&sample, Encoding::Protobuf)
            .await
            .unwrap()
            .status,
        200
    );
    assert_eq!(world.emulator.exports()[0].items(), 2000);
}

/// Scenario: the same, but the export is read, and so held whole.
/// Guarantees: the second token is tried at once, whatever the export's size.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_is_read_is_sent_again_whatever_its_size() {
    let folder = Folder::new();
    let world = with_two_tokens(&folder).await;
    let caller = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"));
    let answer = caller
        .export(&Sample::traces("checkout", 2000), Encoding::Protobuf)
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(world.emulator.exports()[0].items(), 2000);
}

/// Scenario: all tokens of the project are refused. Guarantees: each is tried once per call, then 503.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_works() {
    let folder = Folder::new();
    let world = with_two_tokens(&folder).await;
    world
        .emulator
        .set_access_token_active("second-token-91c0", false);
    assert_eq!(export(&world).await, 503);
    assert_eq!(presented(&world).len(), 2);
    assert!(Path::new(&folder.at("second")).exists());
}
