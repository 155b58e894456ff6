//go:build pvrun && linux

package function

import (
	"context"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var errEnding = errors.New("the program is ending")

// server answers messages.
type server struct {
	handle Handler
	failed chan error // has room for one

	// free is how many goroutines wait for a message or are about to: one at least, so
	// that each message finds one. Who answers counts again before the response is
	// given, after which the machine may stand still for long.
	free atomic.Int32

	mu     sync.Mutex
	ending bool
	work   sync.WaitGroup // messages under way; none is added after ending
}

func handle(f Handler) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	s := &server{handle: f, failed: make(chan error, 1)}
	s.another()
	var err error
	select {
	case err = <-s.failed:
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.work.Wait()
	return err
}

// another has one more goroutine wait for messages.
func (s *server) another() {
	s.free.Add(1)
	go s.serve()
}

// serve answers one message after the other, others meanwhile those that come before
// it is done.
func (s *server) serve() {
	for {
		x, err := receive()
		if err != nil {
			select {
			case s.failed <- err:
			default:
			}
			return
		}
		if s.free.Add(-1) == 0 {
			s.another()
		}
		lives.became(generationOf(x.fd))
		s.answer(x)
	}
}

// begin is false when no more messages are to be answered.
func (s *server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return false
	}
	s.work.Add(1)
	return true
}

// answer has nothing deferred that would respond when the handler panics.
func (s *server) answer(x *exchange) {
	begun := s.begin()
	response, err := []byte(nil), errEnding
	if begun {
		ctx, cancel := x.context()
		response, err = s.handle(ctx, x.message)
		cancel()
		if err == nil {
			err = tooLong(response)
		}
	}
	s.free.Add(1)
	x.respond(response, err)
	if begun {
		s.work.Done()
	}
}

// context ends at the message's deadline.
func (x *exchange) context() (context.Context, context.CancelFunc) {
	if x.deadline == math.MaxInt64 {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeout(context.Background(), time.Duration(x.deadline-monotonic()))
}

func ready() error {
	fd, err := open(os.O_RDONLY)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return os.NewSyscallError("ioctl FUNCTION_READY", control(fd, requestReady))
}

func generation() uint64 {
	fd, err := open(os.O_RDONLY)
	if err != nil {
		return 0
	}
	defer syscall.Close(fd)
	return generationOf(fd)
}

func instanceID() string {
	var id [16]byte
	if fd, err := open(os.O_RDONLY); err == nil {
		id = instanceOf(fd)
		syscall.Close(fd)
	}
	return hex.EncodeToString(id[:])
}
