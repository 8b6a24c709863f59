//! One test, two meshes.

/// Runs each of these `async fn name(mesh: TestMesh)` on both shapes.
macro_rules! on_both_shapes {
    ($($name:ident),+ $(,)?) => {
        mod fused {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($crate::support::TestMesh::start($crate::support::Shape::Fused).await).await;
            })+
        }
        mod tcp {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($crate::support::TestMesh::start($crate::support::Shape::Tcp).await).await;
            })+
        }
    };
}
