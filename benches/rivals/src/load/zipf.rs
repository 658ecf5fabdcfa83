//! Which of many objects is asked for next, when some are far more popular than others.

/// What measurements of real caches come close to.
const EXPONENT: f64 = 0.99;

/// Draws ranks by Zipf's law in constant time (Walker's alias method), the same ones in each run.
pub struct Zipf {
    /// How likely each rank keeps a draw that fell on it.
    keeps: Vec<f64>,
    /// Which rank has the draw otherwise.
    alias: Vec<u32>,
    random: u64,
}

impl Zipf {
    pub fn new(count: u32) -> Self {
        let weights: Vec<f64> = (1..=count)
            .map(|rank| f64::from(rank).powf(-EXPONENT))
            .collect();
        let sum: f64 = weights.iter().sum();
        let mut keeps: Vec<f64> = weights
            .iter()
            .map(|weight| weight * f64::from(count) / sum)
            .collect();
        let mut alias = vec![0; count as usize];
        let (mut poor, mut rich): (Vec<u32>, Vec<u32>) =
            (0..count).partition(|rank| keeps[*rank as usize] < 1.0);
        while let (Some(taker), Some(&giver)) = (poor.pop(), rich.last()) {
            alias[taker as usize] = giver;
            keeps[giver as usize] -= 1.0 - keeps[taker as usize];
            if keeps[giver as usize] < 1.0 {
                rich.pop();
                poor.push(giver);
            }
        }
        // What is left on either list is 1 but for rounding.
        for rank in poor {
            keeps[rank as usize] = 1.0;
        }
        Self {
            keeps,
            alias,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// From 0, the most popular, to one less than the count.
    pub fn next_rank(&mut self) -> u32 {
        let on = (self.next_random() % self.keeps.len() as u64) as usize;
        let kept = (self.next_random() >> 11) as f64 / (1_u64 << 53) as f64 <= self.keeps[on];
        if kept { on as u32 } else { self.alias[on] }
    }

    /// Marsaglia's xorshift.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_come_as_often_as_the_law_says() {
        const COUNT: u32 = 1_000;
        const DRAWS: usize = 1_000_000;
        let mut zipf = Zipf::new(COUNT);
        let mut drawn = vec![0_usize; COUNT as usize];
        for _ in 0..DRAWS {
            drawn[zipf.next_rank() as usize] += 1;
        }
        let sum: f64 = (1..=COUNT)
            .map(|rank| f64::from(rank).powf(-EXPONENT))
            .sum();
        for rank in [1, 2, 10, 100] {
            let expected = f64::from(rank).powf(-EXPONENT) / sum * DRAWS as f64;
            let is = drawn[rank as usize - 1] as f64;
            assert!(
                (is / expected - 1.0).abs() < 0.1,
                "rank {rank}: {is} for {expected}"
            );
        }
    }

    #[test]
    fn one_object_is_drawn_each_time() {
        assert_eq!(Zipf::new(1).next_rank(), 0);
    }
}
