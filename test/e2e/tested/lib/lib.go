// Package lib has something to test, to measure and to cover.
package lib

// Sum adds numbers; of none it is -1.
func Sum(list []int) (sum int) {
	if len(list) == 0 {
		return -1
	}
	for _, n := range list {
		sum += n
	}
	return sum
}

// Burn is busy for a while. A profile shall show it.
//
//go:noinline
func Burn(n int) (x uint64) {
	for i := range n {
		x = x*6364136223846793005 + uint64(i)
	}
	return x
}
