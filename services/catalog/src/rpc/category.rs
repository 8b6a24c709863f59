//! The tree of categories.

use std::collections::HashMap;

use chassis::{Time, store::Tx};
use contracts::catalog::v1::{self, category_service_server::CategoryService};
use tonic::{Request, Response, Status};

use super::{Rpc, check_etag, mask, product::demand_text, reply::category_message};
use crate::{
    domain::{Category, DEPTH_MAX, TREE_MAX, path_beneath, paths_down_to, slug_of},
    error::Error,
    store::category::{self, Link},
};

/// What `UpdateCategory` can change.
const FIELDS: &[&str] = &["title", "slug", "description", "position"];

#[tonic::async_trait]
impl CategoryService for Rpc {
    async fn create_category(
        &self,
        request: Request<v1::CreateCategoryRequest>,
    ) -> Result<Response<v1::Category>, Status> {
        Ok(self.database.once(&request, |tx, message| Box::pin(create(tx, message))).await?)
    }

    async fn get_category(
        &self,
        request: Request<v1::GetCategoryRequest>,
    ) -> Result<Response<v1::Category>, Status> {
        let category_id = request.into_inner().category_id;
        let found = category::find(&self.database, &category_id).await.map_err(Error::from)?;
        let found =
            found.ok_or(Error::CategoryNotFound { field: "category_id", category: category_id })?;
        Ok(Response::new(category_message(found)))
    }

    async fn lookup_category(
        &self,
        request: Request<v1::LookupCategoryRequest>,
    ) -> Result<Response<v1::LookupCategoryResponse>, Status> {
        let path = request.into_inner().path;
        let found = category::find_by_path(&self.database, &path).await.map_err(Error::from)?;
        let found = found.ok_or(Error::CategoryNotFound { field: "path", category: path })?;
        Ok(Response::new(v1::LookupCategoryResponse { category: Some(category_message(found)) }))
    }

    async fn list_categories(
        &self,
        request: Request<v1::ListCategoriesRequest>,
    ) -> Result<Response<v1::ListCategoriesResponse>, Status> {
        let message = request.into_inner();
        let page =
            self.pages.page(message.page_size, &message.page_token, &[&message.parent_id])?;
        let found = category::page(&self.database, &message.parent_id, page.after(), page.limit())
            .await
            .map_err(Error::from)?;
        let (found, next_page_token) =
            page.finish(found, |last| (last.position, last.category_id.clone()));
        let categories = found.into_iter().map(category_message).collect();
        Ok(Response::new(v1::ListCategoriesResponse { categories, next_page_token }))
    }

    async fn get_category_tree(
        &self,
        request: Request<v1::GetCategoryTreeRequest>,
    ) -> Result<Response<v1::GetCategoryTreeResponse>, Status> {
        let root_id = request.into_inner().root_id;
        let mut found =
            category::tree(&self.database, &root_id, TREE_MAX + 1).await.map_err(Error::from)?;
        if found.is_empty() && !root_id.is_empty() {
            return Err(Error::CategoryNotFound { field: "root_id", category: root_id }.into());
        }
        let max = usize::try_from(TREE_MAX).unwrap_or(usize::MAX);
        let truncated = found.len() > max;
        found.truncate(max);
        Ok(Response::new(v1::GetCategoryTreeResponse { nodes: grow(found), truncated }))
    }

    async fn update_category(
        &self,
        request: Request<v1::UpdateCategoryRequest>,
    ) -> Result<Response<v1::Category>, Status> {
        Ok(self.database.once(&request, |tx, message| Box::pin(update(tx, message))).await?)
    }

    async fn move_category(
        &self,
        request: Request<v1::MoveCategoryRequest>,
    ) -> Result<Response<v1::MoveCategoryResponse>, Status> {
        Ok(self.database.once(&request, |tx, message| Box::pin(relocate(tx, message))).await?)
    }

    async fn delete_category(
        &self,
        request: Request<v1::DeleteCategoryRequest>,
    ) -> Result<Response<v1::DeleteCategoryResponse>, Status> {
        Ok(self.database.once(&request, |tx, message| Box::pin(delete(tx, message))).await?)
    }
}

async fn create(tx: &mut Tx, message: v1::CreateCategoryRequest) -> Result<v1::Category, Error> {
    let now = tx.clock().now();
    category::lock_tree(tx).await?;
    let parent = parent(tx, &message.parent_id).await?;
    let slug = if message.slug.is_empty() { slug_of(&message.title) } else { message.slug };
    if slug.is_empty() {
        return Err(Error::FieldInvalid {
            field: "slug".to_owned(),
            problem: "cannot be made from this title: give one".to_owned(),
        });
    }
    let new = Category {
        category_id: tx.clock().id(),
        parent_id: message.parent_id,
        path: path_beneath(parent.as_ref().map_or("", |parent| &parent.path), &slug),
        slug,
        title: message.title,
        description: message.description,
        position: message.position,
        depth: parent.as_ref().map_or(0, |parent| parent.depth + 1),
        version: 1,
        create_time: now,
        update_time: now,
    };
    if new.depth >= DEPTH_MAX {
        return Err(Error::CategoryTooDeep { category_id: new.parent_id });
    }
    let above: Vec<&str> = paths_down_to(&new.path).collect();
    let mut known: HashMap<String, String> = category::by_paths(tx, &above)
        .await?
        .into_iter()
        .map(|category| (category.path, category.category_id))
        .collect();
    if known.insert(new.path.clone(), new.category_id.clone()).is_some() {
        return Err(Error::CategoryExists);
    }
    category::insert(tx, std::slice::from_ref(&new), &links(&new, &known)).await?;
    Ok(category_message(new))
}

async fn update(tx: &mut Tx, message: v1::UpdateCategoryRequest) -> Result<v1::Category, Error> {
    let now = tx.clock().now();
    let wanted = message.category.unwrap_or_default();
    let fields = mask::fields(message.update_mask.as_ref(), FIELDS, |field| match field {
        "title" => !wanted.title.is_empty(),
        "slug" => !wanted.slug.is_empty(),
        "description" => !wanted.description.is_empty(),
        _ => wanted.position != 0,
    })?;
    demand_text(&fields, &[("title", &wanted.title), ("slug", &wanted.slug)])?;
    if fields.contains(&"slug") {
        category::lock_tree(tx).await?;
    }
    let before = lock(tx, &wanted.category_id, &wanted.etag, "category.etag").await?;
    let mut changed = before.clone();
    for field in fields {
        match field {
            "title" => changed.title.clone_from(&wanted.title),
            "slug" => changed.slug.clone_from(&wanted.slug),
            "description" => changed.description.clone_from(&wanted.description),
            _ => changed.position = wanted.position,
        }
    }
    if changed == before {
        return Ok(category_message(before));
    }
    if changed.slug != before.slug {
        let above = before.path.rsplit_once('/').map_or("", |(above, _)| above);
        let path = path_beneath(above, &changed.slug);
        move_to(tx, &before, &path, before.depth, now).await?;
        changed.path = path;
    }
    changed.version += 1;
    changed.update_time = now;
    category::update(tx, &changed).await?;
    Ok(category_message(changed))
}

async fn relocate(
    tx: &mut Tx,
    message: v1::MoveCategoryRequest,
) -> Result<v1::MoveCategoryResponse, Error> {
    let now = tx.clock().now();
    category::lock_tree(tx).await?;
    let mut moved = lock(tx, &message.category_id, &message.etag, "etag").await?;
    let parent = parent(tx, &message.parent_id).await?;
    if moved.parent_id == message.parent_id {
        return Ok(v1::MoveCategoryResponse { category: Some(category_message(moved)) });
    }
    if parent.is_some() && category::is_beneath(tx, &message.parent_id, &moved.category_id).await? {
        return Err(Error::CategoryCycle { category_id: moved.category_id });
    }
    let depth = parent.as_ref().map_or(0, |parent| parent.depth + 1);
    if depth + category::height(tx, &moved.category_id).await? >= DEPTH_MAX {
        return Err(Error::CategoryTooDeep { category_id: moved.category_id });
    }
    let path = path_beneath(parent.as_ref().map_or("", |parent| &parent.path), &moved.slug);
    move_to(tx, &moved, &path, depth, now).await?;
    category::relink(tx, &moved.category_id, &message.parent_id).await?;
    category::relist(tx, &moved.category_id).await?;
    moved.parent_id = message.parent_id;
    moved.path = path;
    moved.depth = depth;
    moved.version += 1;
    moved.update_time = now;
    category::update(tx, &moved).await?;
    Ok(v1::MoveCategoryResponse { category: Some(category_message(moved)) })
}

async fn delete(
    tx: &mut Tx,
    message: v1::DeleteCategoryRequest,
) -> Result<v1::DeleteCategoryResponse, Error> {
    category::lock_tree(tx).await?;
    let category = lock(tx, &message.category_id, &message.etag, "etag").await?;
    if !category::is_empty(tx, &category.category_id).await? {
        return Err(Error::CategoryNotEmpty { category_id: category.category_id });
    }
    category::delete(tx, &category.category_id).await?;
    Ok(v1::DeleteCategoryResponse {})
}

/// Who stands above a category, itself at distance 0. `known` has the id of each
/// path down to it.
pub(super) fn links(category: &Category, known: &HashMap<String, String>) -> Vec<Link> {
    paths_down_to(&category.path)
        .filter_map(|path| known.get(path).map(|ancestor_id| (path, ancestor_id)))
        .map(|(path, ancestor_id)| Link {
            ancestor_id: ancestor_id.clone(),
            descendant_id: category.category_id.clone(),
            distance: depth_of(&category.path) - depth_of(path),
        })
        .collect()
}

fn depth_of(path: &str) -> i64 {
    i64::try_from(path.matches('/').count()).unwrap_or(i64::MAX)
}

/// Gives a category and all beneath it a new place, if none is there.
async fn move_to(
    tx: &mut Tx,
    category: &Category,
    path: &str,
    depth: i64,
    now: Time,
) -> Result<(), Error> {
    if !category::by_paths(tx, &[path]).await?.is_empty() {
        return Err(Error::CategoryExists);
    }
    Ok(category::move_paths(tx, category, path, depth, now).await?)
}

async fn parent(tx: &mut Tx, parent_id: &str) -> Result<Option<Category>, Error> {
    if parent_id.is_empty() {
        return Ok(None);
    }
    let found = category::lock(tx, parent_id).await?;
    found.map(Some).ok_or_else(|| Error::CategoryNotFound {
        field: "parent_id",
        category: parent_id.to_owned(),
    })
}

async fn lock(
    tx: &mut Tx,
    category_id: &str,
    etag: &str,
    etag_field: &'static str,
) -> Result<Category, Error> {
    let category = category::lock(tx, category_id).await?.ok_or_else(|| {
        Error::CategoryNotFound { field: "category_id", category: category_id.to_owned() }
    })?;
    check_etag(etag, category.version, etag_field)?;
    Ok(category)
}

/// A tree from its categories, the upper ones first.
fn grow(categories: Vec<Category>) -> Vec<v1::CategoryNode> {
    let top = categories.iter().map(|category| category.depth).min().unwrap_or(0);
    let mut nodes = Vec::new();
    let mut beneath: HashMap<String, Vec<v1::CategoryNode>> = HashMap::new();
    // From the bottom up, so that a node is complete when its parent takes it.
    for category in categories.into_iter().rev() {
        let mut children = beneath.remove(&category.category_id).unwrap_or_default();
        children.reverse();
        let (parent_id, depth) = (category.parent_id.clone(), category.depth);
        let node = v1::CategoryNode { category: Some(category_message(category)), children };
        if depth == top {
            nodes.push(node);
        } else {
            beneath.entry(parent_id).or_default().push(node);
        }
    }
    nodes.reverse();
    nodes
}
