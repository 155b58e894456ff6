// Package hv is the host of pvrun as a library: it loads an image into a
// virtual machine, runs it and answers its hypercalls.
//
//	vm, err := hv.New(hv.Config{Image: "hello.img", Stdout: os.Stdout})
//	if err != nil { … }
//	defer vm.Close()
//	exit, err := vm.Run(ctx)
//
// All guest code is taken to be hostile. What a guest does wrong ends its own
// machine with a [GuestFault]; what the host cannot do is a [HostError]. The
// package never prints, exits or panics on what a guest does, several machines
// may run in one process, and nothing is left of one after Close.
package hv
