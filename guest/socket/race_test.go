//go:build race

package socket

// The race detector has pools forget things on purpose (package sync, pool.go).
func init() { forgetful = true }
