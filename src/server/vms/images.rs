//! The image catalogue: what VMs can be launched from.

use crate::model::Image;
use serde::Deserialize;
use std::{collections::HashSet, path::Path};

const BUILT_IN: &str = include_str!("../../../images.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    #[serde(default)]
    image: Vec<Image>,
}

/// Reads `file`, or the built-in catalogue, and puts the lab's own boxes that are registered before it.
///
/// # Errors
/// A sentence that names the file and what is wrong in it.
pub fn load(file: Option<&Path>, lab_boxes: &[String]) -> Result<Vec<Image>, String> {
    let (name, text) = match file {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|e| format!("The images catalogue {} cannot be read: {e}.", file.display()))?;
            (file.display().to_string(), text)
        }
        None => ("images.toml".to_owned(), BUILT_IN.to_owned()),
    };
    let mut images: Vec<Image> =
        lab_images().into_iter().filter(|image| lab_boxes.contains(&image.vagrant_box)).collect();
    images.extend(parse(&text).map_err(|e| format!("The images catalogue {name} is wrong: {e}"))?);
    Ok(images)
}

fn parse(text: &str) -> Result<Vec<Image>, String> {
    let Catalogue { image: images } = toml::from_str(text).map_err(|e| e.to_string())?;
    if images.is_empty() {
        return Err("it names no image; begin one with [[image]].".into());
    }
    let mut keys = HashSet::new();
    for image in &images {
        let key = &image.key;
        if !keys.insert(key) {
            return Err(format!("the key \"{key}\" is used twice."));
        }
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
            return Err(format!(
                "the key \"{key}\" may have letters, digits, dots, hyphens and underscores only."
            ));
        }
        let address = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if !address(&image.vagrant_box) || image.box_url.as_deref().is_some_and(|url| !address(url)) {
            return Err(format!("box and box_url of \"{key}\" must be there, without spaces."));
        }
        if image.min_ram_mb == 0 || image.min_disk_gb == 0 {
            return Err(format!("min_ram_mb and min_disk_gb of \"{key}\" must be 1 at least."));
        }
    }
    Ok(images)
}

fn lab_images() -> [Image; 2] {
    let image = |key: &str, label: &str, vagrant_box: &str, min_ram_mb| Image {
        key: key.into(),
        label: label.into(),
        vagrant_box: vagrant_box.into(),
        box_url: None,
        min_ram_mb,
        min_disk_gb: 1,
    };
    [
        image("lab-tiny", "Lab tiny (BusyBox)", "twarga/tiny", 128),
        image("lab-debian-12", "Lab Debian 12", "twarga/debian12", 256),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalogue_is_right() {
        let keys: Vec<_> = load(None, &[]).unwrap().into_iter().map(|i| i.key).collect();
        assert_eq!(keys, ["ubuntu-26.04", "debian-12", "alpine-3.23"]);
    }

    #[test]
    fn the_labs_boxes_are_there_when_they_are_registered() {
        let images = load(None, &["twarga/tiny".into()]).unwrap();
        assert_eq!(images[0].key, "lab-tiny");
        assert!(!images.iter().any(|i| i.key == "lab-debian-12"));
    }

    #[test]
    fn a_wrong_catalogue_is_rejected_with_the_reason() {
        for (text, word) in [
            ("", "no image"),
            ("[[image]]\nkey = 'a'\nlabel = 'A'\nmin_ram_mb = 1\nmin_disk_gb = 1", "box"),
            ("[[image]]\nkey='a'\nlabel='A'\nbox=\"x' y\"\nmin_ram_mb=1\nmin_disk_gb=1", "without spaces"),
            ("[[image]]\nkey='a'\nlabel='A'\nbox='x'\nmin_ram_mb=1\nmin_disk_gb=1\nsize=3", "size"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(word), "{word} is missing in: {error}");
        }
    }
}
