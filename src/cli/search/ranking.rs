//! The best of a folder's pictures for one embedding.

use std::path::PathBuf;

use super::super::folder::Folder;

/// A picture that fits, and how well.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hit {
    pub(super) path: PathBuf,
    /// Cosine.
    pub(super) score: f32,
    /// From 0 at the folder's mean score to 1 at its best.
    pub(super) prominence: f32,
}

/// At most `top` pictures, best first; of equals, the first by path.
pub(super) fn rank(folder: &Folder, query: &[f32], top: usize, min_score: Option<f32>) -> Vec<Hit> {
    let scored = folder.rows().map(|row| (folder.path_of(row.path), cosine(query, row.embedding))).collect();
    best(scored, top, min_score)
}

fn best(mut scored: Vec<(PathBuf, f32)>, top: usize, min_score: Option<f32>) -> Vec<Hit> {
    #[expect(clippy::cast_precision_loss, reason = "a count of files")]
    let mean = scored.iter().map(|(_, score)| score).sum::<f32>() / scored.len().max(1) as f32;
    scored.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let range = scored.first().map_or(0.0, |(_, best)| best - mean);
    scored
        .into_iter()
        .take(top)
        .filter(|(_, score)| min_score.is_none_or(|least| *score >= least))
        .map(|(path, score)| {
            let prominence = if range > 0.0 { ((score - mean) / range).clamp(0.0, 1.0) } else { 1.0 };
            Hit { path, score, prominence }
        })
        .collect()
}

/// Both are divided by their lengths: nothing is taken for granted of what comes over a bus.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let (mut dot, mut aa, mut bb) = (0.0_f32, 0.0_f32, 0.0_f32);
    for (a, b) in a.iter().zip(b) {
        dot += a * b;
        aa += a * a;
        bb += b * b;
    }
    let length = (aa * bb).sqrt();
    if length > 0.0 { dot / length } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(hits: &[Hit]) -> Vec<&str> {
        hits.iter().map(|hit| hit.path.to_str().unwrap()).collect()
    }

    #[test]
    fn the_best_come_first_and_equals_by_path() {
        let scored =
            [("a", 0.1), ("b", 0.3), ("c", 0.3), ("d", -0.1)].map(|(path, score)| (path.into(), score));
        let hits = best(scored.to_vec(), 3, None);
        assert_eq!(names(&hits), ["b", "c", "a"]);
        assert!((hits[0].prominence - 1.0).abs() < 1e-6);
        assert!(hits[2].prominence.abs() < 1e-6, "{hits:?}");
        assert_eq!(names(&best(scored.to_vec(), 9, Some(0.2))), ["b", "c"]);
        assert!(best(Vec::new(), 9, None).is_empty());
    }

    #[test]
    fn what_is_not_a_number_is_no_reason_to_fail() {
        let scored = vec![("a".into(), f32::NAN), ("b".into(), 0.5)];
        assert_eq!(best(scored, 2, None).len(), 2);
    }

    #[test]
    fn cosines_do_not_depend_on_lengths() {
        assert!((cosine(&[3.0, 0.0], &[0.5, 0.5]) - 0.5_f32.sqrt()).abs() < 1e-6);
        assert_eq!(cosine(&[0.0], &[1.0]), 0.0);
    }
}
