// Package two leans on lib, for coverage of one package by another's tests.
package two

import "example.com/tested/lib"

// Double is twice the sum.
func Double(list []int) int { return 2 * lib.Sum(list) }
