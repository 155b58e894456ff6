// Command zeros touches little of much: variables that would not fit into a small
// machine. Pointers come first in memory, numbers and what else there is behind them.
package main

import "fmt"

var (
	pointers [5 << 20]*int
	numbers  [5 << 20]int
)

func main() {
	empty := 0
	for i := 0; i < len(numbers); i += 70_000 {
		if pointers[i] == nil && numbers[i] == 0 {
			empty++
		}
		pointers[i], numbers[i] = new(int), i
	}
	for i := 0; i < len(numbers); i += 70_000 {
		if *pointers[i] != 0 || numbers[i] != i {
			fmt.Println("lost:", i)
		}
	}
	fmt.Println(empty)
}
