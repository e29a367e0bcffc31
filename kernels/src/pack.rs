//! Gate-interleaved weight panels.
//!
//! A panel holds one product's weights in the order in which the micro-kernel reads them. Hidden units are cut into
//! blocks of LANES; per block stand, one after the other, vectors of LANES values:
//!
//! ```text
//! [head 0] ... [head n-1]  [k=0: gate 0] ... [k=0: gate G-1]  [k=1: gate 0] ...  [k=K-1: gate G-1]
//! ```
//!
//! Heads are what a unit has once: biases of gates that start a chain.
//! Units past the last are zero, so that a tail block is computed like any other and stored with a lane mask.

use crate::buf::Buf;
use crate::isa::Isa;
use crate::mat::MatRef;
use crate::real::Real;
use crate::shape::ShapeError;
use std::ops::Range;

/// Most gates that a product has.
pub const MAX_GATES: usize = 4;

/// Rows that are cut into vectors at once: they stay in the first cache level, and what is written stands side by side.
const ROWS_AT_ONCE: usize = 8;

/// The sizes of a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PanelShape {
    /// Vectors a block has before its weights.
    pub heads: usize,
    /// Gates, G.
    pub gates: usize,
    /// Length of the product's chain, K.
    pub k: usize,
    /// Hidden units, H.
    pub units: usize,
}

/// Packed weights of one product for the vectors of one instruction set.
#[derive(Clone, Debug)]
pub struct Panel<T> {
    data: Buf<T>,
    shape: PanelShape,
    lanes: usize,
}

impl<T: Real> Panel<T> {
    /// A panel of zeros, to be filled by [`Panel::pack`].
    ///
    /// # Errors
    /// It does not fit in memory, or the columns of a product by it cannot be counted.
    pub fn new(isa: Isa, shape: PanelShape) -> Result<Self, ShapeError> {
        let lanes = T::lanes(isa);
        let data = Buf::filled(Self::len(shape, lanes).unwrap_or(usize::MAX), T::ZERO)?;
        Ok(Panel { data, shape, lanes })
    }

    /// One without any weights, to be filled by [`Panel::pack_rows`].
    pub const fn empty() -> Self {
        Panel { data: Buf::empty(), shape: PanelShape { heads: 0, gates: 0, k: 0, units: 0 }, lanes: 1 }
    }

    /// Makes it a panel of one gate and no heads, whose B is `matrix`, `[K, H]`, in the memory that it has if that is enough.
    /// Cost: one copy of each value.
    ///
    /// # Errors
    /// As [`Panel::new`], or `"matrix column stride"`, which must be 1; it stays as it was.
    pub fn pack_rows(&mut self, isa: Isa, matrix: MatRef<'_, T>) -> Result<(), ShapeError> {
        ShapeError::same("matrix column stride", 1, matrix.col_stride())?;
        let shape = PanelShape { heads: 0, gates: 1, k: matrix.rows(), units: matrix.cols() };
        let lanes = T::lanes(isa);
        self.data.reserve(Self::len(shape, lanes).unwrap_or(usize::MAX))?;
        (self.shape, self.lanes) = (shape, lanes);
        match lanes {
            2 => self.cut::<2>(matrix),
            4 => self.cut::<4>(matrix),
            8 => self.cut::<8>(matrix),
            _ => self.cut::<16>(matrix),
        }
        Ok(())
    }

    /// The packed values.
    fn data_mut(&mut self) -> &mut [T] {
        let len = self.blocks() * self.block_len();
        &mut self.data[..len]
    }

    /// Values of a panel, if they can be counted. So can then a block's, and the columns of a product of any stage.
    fn len(PanelShape { heads, gates, k, units }: PanelShape, lanes: usize) -> Option<usize> {
        let padded = units.checked_next_multiple_of(lanes)?;
        padded.checked_mul(gates.max(MAX_GATES))?;
        let vectors = gates.checked_mul(k)?.checked_add(heads)?;
        vectors.checked_mul(lanes)?;
        vectors.checked_mul(padded)
    }

    /// Fills the panel, in place: `heads` each `[H]`, `weights` `[G*H, K]`, rows gate-major, any strides. Cost: one copy of
    /// each weight.
    ///
    /// # Errors
    /// `"heads"`, `"head"`, `"weight rows"` or `"weight columns"` does not fit the panel.
    pub fn pack(&mut self, heads: &[&[T]], weights: MatRef<'_, T>) -> Result<(), ShapeError> {
        let PanelShape { gates, k, units, .. } = self.shape;
        ShapeError::same("heads", self.shape.heads, heads.len())?;
        for head in heads {
            ShapeError::same("head", units, head.len())?;
        }
        ShapeError::same("weight rows", gates * units, weights.rows())?;
        ShapeError::same("weight columns", k, weights.cols())?;
        let (lanes, block_len) = (self.lanes, self.block_len());
        for (block, data) in self.data_mut().chunks_exact_mut(block_len.max(1)).enumerate() {
            let first = block * lanes;
            let live = lanes.min(units - first);
            let (head_part, weight_part) = data.split_at_mut(heads.len() * lanes);
            for (to, head) in head_part.chunks_exact_mut(lanes).zip(heads) {
                to[..live].copy_from_slice(&head[first..first + live]);
            }
            for (i, to) in weight_part.chunks_exact_mut(lanes).enumerate() {
                let (column, row) = (i / gates, i % gates * units + first);
                for (lane, value) in to[..live].iter_mut().enumerate() {
                    *value = weights.get(row + lane, column).copied().unwrap_or(T::ZERO);
                }
            }
        }
        Ok(())
    }

    /// Cuts the rows of a matrix into vectors of `LANES`, those of this panel.
    fn cut<const LANES: usize>(&mut self, matrix: MatRef<'_, T>) {
        let (k, block_len) = (self.shape.k, self.block_len().max(1));
        for rows in (0..k).step_by(ROWS_AT_ONCE).map(|first| first..k.min(first + ROWS_AT_ONCE)) {
            for (block, data) in self.data_mut().chunks_exact_mut(block_len).enumerate() {
                for (to, k) in data.as_chunks_mut::<LANES>().0[rows.clone()].iter_mut().zip(rows.clone()) {
                    let (vectors, tail) = matrix.row(k).unwrap_or_default().as_chunks::<LANES>();
                    match vectors.get(block) {
                        Some(vector) => *to = *vector,
                        None => {
                            to[..tail.len()].copy_from_slice(tail);
                            to[tail.len()..].fill(T::ZERO);
                        }
                    }
                }
            }
        }
    }
}

/// Some unit blocks of a panel, side by side: a panel of its own for fewer units.
#[derive(Debug)]
pub(crate) struct PanelRef<'a, T> {
    data: &'a [T],
    shape: PanelShape,
    lanes: usize,
}

impl<T> Clone for PanelRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for PanelRef<'_, T> {}

impl<'a, T> PanelRef<'a, T> {
    /// The sizes.
    #[inline(always)]
    pub(crate) fn shape(&self) -> PanelShape {
        self.shape
    }

    /// Values of the vectors it was packed for.
    #[inline(always)]
    pub(crate) fn lanes(&self) -> usize {
        self.lanes
    }

    /// Values of a block.
    #[inline(always)]
    pub(crate) fn block_len(&self) -> usize {
        (self.shape.heads + self.shape.gates * self.shape.k) * self.lanes
    }

    /// The packed values, as many as blocks have.
    #[inline(always)]
    pub(crate) fn data(&self) -> &'a [T] {
        self.data
    }
}

impl<T> Panel<T> {
    /// All of it.
    #[inline(always)]
    pub(crate) fn whole(&self) -> PanelRef<'_, T> {
        PanelRef { data: self.data(), shape: self.shape, lanes: self.lanes }
    }

    /// These blocks of it, as many of them as there are.
    pub(crate) fn part(&self, blocks: Range<usize>) -> PanelRef<'_, T> {
        let end = blocks.end.min(self.blocks());
        let start = blocks.start.min(end);
        let units = (end * self.lanes).min(self.shape.units) - (start * self.lanes).min(self.shape.units);
        let data = &self.data[start * self.block_len()..end * self.block_len()];
        PanelRef { data, shape: PanelShape { units, ..self.shape }, lanes: self.lanes }
    }

    /// The sizes.
    #[inline(always)]
    pub fn shape(&self) -> PanelShape {
        self.shape
    }

    /// Values of the vectors it was packed for.
    #[inline(always)]
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Blocks of LANES units.
    #[inline(always)]
    pub fn blocks(&self) -> usize {
        self.shape.units.div_ceil(self.lanes)
    }

    /// Values of a block.
    #[inline(always)]
    pub(crate) fn block_len(&self) -> usize {
        (self.shape.heads + self.shape.gates * self.shape.k) * self.lanes
    }

    /// The packed values, [`Panel::blocks`] times [`Panel::block_len`].
    #[inline(always)]
    pub(crate) fn data(&self) -> &[T] {
        &self.data[..self.blocks() * self.block_len()]
    }

    /// Columns of a product by this panel that is stored in [`GateOrder::Panel`]: G values for every unit, padded.
    pub fn product_cols(&self) -> usize {
        self.blocks() * self.shape.gates * self.lanes
    }

    /// Bytes of the packed weights.
    pub fn bytes(&self) -> usize {
        size_of_val(self.data())
    }
}

/// How the gates of a row stand in a product that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateOrder {
    /// `[blocks, G, LANES]`: as in a panel, padded; a row is [`Panel::product_cols`] long.
    Panel,
    /// `[G, H]`: gate after gate, a row is G*H long.
    Major,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaves_gates_and_pads_with_zeros() {
        let isa = Isa::named("portable").unwrap();
        let shape = PanelShape { heads: 1, gates: 2, k: 2, units: 5 };
        let mut panel = Panel::<f32>::new(isa, shape).unwrap();
        let head: Vec<f32> = (1..=5).map(|i| i as f32).collect();
        // Weight of gate g, unit u, column k: 100 g + 10 u + k + 100.
        let weights: Vec<f32> = (0..2)
            .flat_map(|g| (0..5).flat_map(move |u| (0..2).map(move |k| (100 + 100 * g + 10 * u + k) as f32)))
            .collect();
        panel.pack(&[&head], MatRef::dense(&weights, 10, 2).unwrap()).unwrap();
        assert_eq!((panel.lanes(), panel.blocks(), panel.block_len(), panel.product_cols()), (4, 2, 20, 16));
        #[rustfmt::skip]
        assert_eq!(panel.data(), [
            1., 2., 3., 4., 100., 110., 120., 130., 200., 210., 220., 230., 101., 111., 121., 131., 201., 211., 221., 231.,
            5., 0., 0., 0., 140., 0., 0., 0., 240., 0., 0., 0., 141., 0., 0., 0., 241., 0., 0., 0.,
        ]);
    }

    #[test]
    fn rows_are_packed_in_the_same_memory() {
        let isa = Isa::named("portable").unwrap();
        let mut panel = Panel::<f32>::empty();
        assert_eq!((panel.blocks(), panel.data().len()), (0, 0));
        let values: Vec<f32> = (0..27).map(|i| i as f32 + 1.0).collect();
        panel.pack_rows(isa, MatRef::dense(&values, 3, 9).unwrap()).unwrap();
        let memory = panel.data().as_ptr();
        panel.pack_rows(isa, MatRef::dense(&values[..10], 2, 5).unwrap()).unwrap();
        assert_eq!(panel.data(), [1., 2., 3., 4., 6., 7., 8., 9., 5., 0., 0., 0., 10., 0., 0., 0.]);
        assert_eq!(panel.data().as_ptr(), memory);
        let strided = MatRef::dense(&values, 9, 3).unwrap().transposed();
        assert_eq!(panel.pack_rows(isa, strided).unwrap_err().argument, "matrix column stride");
        assert_eq!(panel.shape(), PanelShape { heads: 0, gates: 1, k: 2, units: 5 });
    }

    #[test]
    fn many_rows_are_packed_as_by_columns() {
        for isa in Isa::available().iter().copied() {
            for (k, units) in [(1, 1), (8, 33), (19, 16), (16, 7), (0, 5), (5, 0)] {
                let values: Vec<f32> = (0..k * units).map(|i| i as f32).collect();
                let matrix = MatRef::dense(&values, k, units).unwrap();
                let mut expected = Panel::new(isa, PanelShape { heads: 0, gates: 1, k, units }).unwrap();
                expected.pack(&[], matrix.transposed()).unwrap();
                let mut panel = Panel::empty();
                panel.pack_rows(isa, matrix).unwrap();
                assert_eq!((panel.shape(), panel.data()), (expected.shape(), expected.data()));
            }
        }
    }

    #[test]
    fn refuses_wrong_sizes() {
        let isa = Isa::named("portable").unwrap();
        let mut panel = Panel::<f64>::new(isa, PanelShape { heads: 1, gates: 1, k: 3, units: 2 }).unwrap();
        let data = vec![0.0; 6];
        let weights = MatRef::dense(&data, 2, 3).unwrap();
        assert_eq!(panel.pack(&[], weights).unwrap_err().argument, "heads");
        assert_eq!(panel.pack(&[&[0.0]], weights).unwrap_err().argument, "head");
        assert_eq!(panel.pack(&[&[0.0; 2]], weights.transposed()).unwrap_err().argument, "weight rows");
        assert!(Panel::<f32>::new(isa, PanelShape { heads: 0, gates: 4, k: usize::MAX / 8, units: 9 }).is_err());
        let quarter = usize::MAX / 4 + 1;
        for (gates, units) in [(4, quarter), (0, quarter), (quarter, 4), (1, usize::MAX)] {
            assert!(Panel::<f32>::new(isa, PanelShape { heads: 0, gates, k: 0, units }).is_err(), "{gates} {units}");
        }
    }
}
