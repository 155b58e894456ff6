// Package durability has tests that kill pvrun with SIGKILL, at any moment, while
// a program in its machine writes: what the program was told to be synced, and said
// so, must be there afterwards.
//
//	go test ./test/durability                            a few kills of each kind
//	go test ./test/durability -v -kills 200 -databases kv,sql,lsm -timeout 2h
//
// The writers are the databases of images/ and package stamper, which fills files
// or disks with sectors that say who wrote them. A run prints its seed; -seed
// repeats what was decided by it, though not how far a machine was by then.
//
// Since the host goes on, this says nothing of power cuts: it shows that nothing is
// acknowledged before it has left the machine, that nothing is left half done
// inside, and that everything starts again.
package durability
