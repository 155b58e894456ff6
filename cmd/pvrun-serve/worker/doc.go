// Package worker has machines live in processes of their own, some hundred in each. The
// kernel asks all machines of a process at each page that one of them copies or unmaps,
// so that ten thousand in one process would stand still; and what ends a process ends
// only the machines in it.
//
// A worker is this program itself, with the one argument Command. It has a socket as
// descriptor 3 and the snapshot's pages as descriptor 4, ends when the socket is closed,
// and is killed when the thread that has started it ends. A Source starts workers when
// machines need them, and ends those that have none.
//
// On the socket are frames: a call has a machine's number, and one frame back. A machine
// has one call under way at a time, the worker as many as it has machines. What programs
// write comes in frames of its own, before the answer of the call that they wrote in.
package worker
