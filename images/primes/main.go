// Command primes counts the primes below a limit.
package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
)

const (
	defaultLimit = 10_000_000
	segment      = 1 << 18 // numbers a goroutine sieves at a time
	workers      = 4
)

func main() {
	limit := uint64(defaultLimit)
	if len(os.Args) > 1 {
		n, err := strconv.ParseUint(os.Args[1], 10, 40)
		if err != nil {
			fmt.Fprintf(os.Stderr, "primes: limit %q: must be a number below 2^40\n", os.Args[1])
			os.Exit(2)
		}
		limit = n
	}
	all := count(limit)
	fmt.Printf("%d primes below %d, checksum %016x\n", all.count, limit, all.sum)
}

// result is what is known of the primes of one segment, or of several.
type result struct {
	count uint64
	sum   uint64 // of the mixed primes; the order does not matter
}

// count sieves all segments below limit.
func count(limit uint64) result {
	small := primesUpTo(root(limit))
	starts, results := make(chan uint64), make(chan result)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			marks := make([]bool, segment)
			for lo := range starts {
				results <- sieve(marks, small, lo, min(lo+segment, limit))
			}
		})
	}
	go func() {
		for lo := uint64(0); lo < limit; lo += segment {
			starts <- lo
		}
		close(starts)
		wg.Wait()
		close(results)
	}()
	var all result
	for r := range results {
		all.count += r.count
		all.sum += r.sum
	}
	return all
}

// sieve finds the primes in [lo, hi).
func sieve(marks []bool, small []uint64, lo, hi uint64) (r result) {
	marks = marks[:hi-lo]
	clear(marks)
	for _, p := range small {
		if p*p >= hi {
			break
		}
		for n := max(p*p, (lo+p-1)/p*p); n < hi; n += p {
			marks[n-lo] = true
		}
	}
	for i, composite := range marks {
		if n := lo + uint64(i); !composite && n > 1 {
			r.count++
			r.sum += mix(n)
		}
	}
	return r
}

// mix spreads n over 64 bits (the finalizer of SplitMix64).
func mix(n uint64) uint64 {
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// root is the smallest number whose square is not below n.
func root(n uint64) uint64 {
	r := uint64(0)
	for r*r < n {
		r++
	}
	return r
}

func primesUpTo(n uint64) (list []uint64) {
	composite := make([]bool, n+1)
	for i := uint64(2); i <= n; i++ {
		if composite[i] {
			continue
		}
		list = append(list, i)
		for k := i * i; k <= n; k += i {
			composite[k] = true
		}
	}
	return list
}
