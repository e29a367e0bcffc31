//! Masks on planes: what is computed, what is left alone, what is refused.

use gatefold_kernels::blend::{Blend, BlendKind};
use gatefold_kernels::isa::Isa;
use gatefold_kernels::mat::{MatMut, MatRef};

const KINDS: [BlendKind; 5] = [BlendKind::Between, BlendKind::Take, BlendKind::Add, BlendKind::Scale, BlendKind::Rest];

fn expected(kind: BlendKind, m: f32, from: f32, to: f32) -> f32 {
    match kind {
        BlendKind::Between => m * from + (1.0 - m) * to,
        BlendKind::Take => m * from,
        BlendKind::Add => to + m * from,
        BlendKind::Scale => m * to,
        BlendKind::Rest => (1.0 - m) * to,
    }
}

/// Around the edges of vectors; numbers whose products are exact.
#[test]
fn blends_the_columns_of_the_mask_in_the_selected_rows() {
    for &isa in Isa::available() {
        for (kind, cols) in KINDS.into_iter().flat_map(|kind| [1, 3, 4, 5, 8, 15, 16, 17, 33].map(|cols| (kind, cols)))
        {
            let masks: Vec<f32> = (0..3 * cols).map(|i| [0.0, 0.25, 1.0][i % 3]).collect();
            let from: Vec<f32> = (0..3 * (cols + 1)).map(|i| i as f32 + 1.0).collect();
            let start: Vec<f32> = (0..3 * (cols + 2)).map(|i| 2.0 * i as f32 - 9.0).collect();
            let (mut to, mut also) = (start.clone(), vec![f32::NAN; 3 * cols]);
            let needs_from = !matches!(kind, BlendKind::Scale | BlendKind::Rest);
            Blend {
                isa,
                kind,
                mask: MatRef::dense(&masks, 3, cols).unwrap(),
                from: needs_from.then(|| MatRef::dense(&from, 3, cols + 1).unwrap()),
                to: MatMut::dense(&mut to, 3, cols + 2).unwrap(),
                also: Some(MatMut::dense(&mut also, 3, cols).unwrap()),
                select: Some(&[0, 2]),
            }
            .run()
            .unwrap();
            for (n, j) in (0..3).flat_map(|n| (0..cols + 2).map(move |j| (n, j))) {
                let at = n * (cols + 2) + j;
                let untouched = n == 1 || j >= cols;
                let value = match untouched {
                    true => start[at],
                    false => expected(kind, masks[n * cols + j], from[n * (cols + 1) + j], start[at]),
                };
                assert_eq!(to[at], value, "{kind:?}, row {n}, column {j} of {cols} on {}", isa.name());
                if j < cols {
                    assert_eq!(also[n * cols + j].is_nan(), n == 1);
                    assert!(n == 1 || also[n * cols + j] == value);
                }
            }
        }
    }
}

#[test]
fn refuses_wrong_sizes() {
    let (isa, data) = (Isa::available()[0], [0.5f64; 16]);
    let refused = |kind, from: Option<[usize; 2]>, to: [usize; 2], also: [usize; 2], select: &[u32]| {
        let (mut a, mut b) = ([0.0; 16], [0.0; 16]);
        let blend = Blend {
            isa,
            kind,
            mask: MatRef::dense(&data, 2, 3).unwrap(),
            from: from.map(|[rows, cols]| MatRef::dense(&data, rows, cols).unwrap()),
            to: MatMut::dense(&mut a, to[0], to[1]).unwrap(),
            also: Some(MatMut::dense(&mut b, also[0], also[1]).unwrap()),
            select: Some(select),
        };
        blend.run().err().map(|e| e.argument)
    };
    let take = BlendKind::Take;
    let fit = Some([2, 3]);
    assert_eq!(refused(take, fit, [2, 4], [2, 3], &[1]), None);
    assert_eq!(refused(take, None, [2, 4], [2, 3], &[]), Some("from"));
    assert_eq!(refused(BlendKind::Rest, fit, [2, 4], [2, 3], &[]), Some("from"));
    assert_eq!(refused(take, Some([1, 3]), [2, 4], [2, 3], &[]), Some("from rows"));
    assert_eq!(refused(take, Some([2, 2]), [2, 4], [2, 3], &[]), Some("from columns"));
    assert_eq!(refused(take, fit, [1, 4], [2, 3], &[]), Some("to rows"));
    assert_eq!(refused(take, fit, [2, 2], [2, 3], &[]), Some("to columns"));
    assert_eq!(refused(take, fit, [2, 4], [2, 4], &[]), Some("also columns"));
    assert_eq!(refused(take, fit, [2, 4], [2, 3], &[2]), Some("selected row"));
}
