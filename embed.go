// Package pvrun turns an ordinary Go program into a unikernel image and runs
// it in a virtual machine. The work is done in its folders: build makes
// images, hv runs them, cmd/pvrun is the command.
package pvrun

import "embed"

// Version is pvrun's own version. Images record it, so it changes only with a
// release: the same input shall give the same bytes.
const Version = "0.1.0"

// Sources holds guest/ and hypercall/ as they are in this module. The builder
// links them into images, so that a pvrun binary needs nothing beside it.
//
//go:embed guest hypercall
var Sources embed.FS

// Modules and Sums are this module's go.mod and go.sum: they pin what guest/socket
// needs beside the standard library.
//
//go:embed go.mod
var Modules string

//go:embed go.sum
var Sums string
