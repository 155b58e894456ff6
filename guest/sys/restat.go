package sys

import "github.com/pvrun/pvrun/hypercall"

// RestAt has the machine come to rest, if this is a moment that the host has asked for.
func RestAt(hypercall.Ready) {}
