// Command faults ends its machine by a crash call, outside Go.
package main

func broken()

func main() { broken() }
