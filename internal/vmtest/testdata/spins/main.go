// Command spins never ends.
package main

func main() {
	for {
	}
}
