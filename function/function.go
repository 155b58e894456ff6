// Package function is for programs that answer messages: main calls [Handle] with
// what it does with one.
//
//	func main() {
//		err := function.Handle(func(ctx context.Context, message []byte) ([]byte, error) {
//			return bytes.ToUpper(message), nil
//		})
//		if err != nil {
//			log.Fatal(err)
//		}
//	}
//
// Built by pvrun, which sets the build tag pvrun, the program gets its messages from
// /dev/function of its machine (docs/functions.md of pvrun) and links no package net.
// Built by go it is an HTTP server, to be tried out with curl.
package function

import (
	"context"
	"fmt"
)

// MaxMessage is the most bytes of a message and of a response.
const MaxMessage = 6 << 20

// Handler answers a message, which is its to keep, with a response or with an error,
// whose text is then the answer. ctx ends when nobody waits for the answer any more.
//
// A handler that panics ends the program, as a panic anywhere does: what it leaves
// behind is nothing to answer the next message with.
type Handler = func(ctx context.Context, message []byte) ([]byte, error)

// Handle answers messages with f, as many at once as there are, until the program gets
// SIGTERM or SIGINT. Those under way are answered then, and the result is nil.
//
// In a machine Handle is ready, and a snapshot may be taken, when it waits for its
// first message. On a host it serves HTTP on port $PORT, or 8080: POST / has the
// message as its body and the response in the answer's. An error is answered with
// status 500, a message that is too long with 413.
func Handle(f Handler) error { return handle(f) }

// Ready says that the program is ready to have a snapshot taken, for programs that do
// their work without Handle, or want it taken before. It returns when that was done, in
// each machine that is made of the snapshot. On a host it does nothing.
func Ready() error { return ready() }

// Generation says which life of a snapshot's this is: it is another one after each
// time that the machine was resumed. On a host it is 0.
func Generation() uint64 { return generation() }

// InstanceID is a name of 32 hexadecimal digits that this machine shares with no
// other: it is another one after each time that the machine was resumed. On a host it
// is one of the process's.
func InstanceID() string { return instanceID() }

// OnResume has f called in a machine that was made of a snapshot, before it gets its
// next message: to renew what two machines must not both have. On a host it is never
// called.
func OnResume(f func()) { onResume(f) }

// tooLong is the error of a response that nobody would take.
func tooLong(response []byte) error {
	if len(response) <= MaxMessage {
		return nil
	}
	return fmt.Errorf("a response of %d bytes; %d are the most", len(response), MaxMessage)
}
