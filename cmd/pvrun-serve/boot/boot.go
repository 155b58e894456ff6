// Package boot makes sources of clones: of snapshots, of images and of packages.
package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pvrun/pvrun/build"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
)

// Program says what to boot.
type Program struct {
	From   string   // an image, a snapshot or a package
	Args   []string // after the program's name; not with a snapshot, nor are those below
	Env    []string
	Memory int64         // bytes; hv.DefaultMemory when 0
	Within time.Duration // until it is ready; 0 is as long as it takes
}

// ErrTimeout is the cause when the program is not ready in time.
var ErrTimeout = errors.New("time-out")

// Source is a snapshot as package pool has it.
type Source struct{ *hv.Snapshot }

// New makes a clone.
func (s Source) New(stdout, stderr io.Writer) (pool.Machine, error) {
	vm, err := s.Snapshot.New(hv.Clone{Stdout: stdout, Stderr: stderr})
	if err != nil {
		return nil, err
	}
	return vm, nil
}

// Stored is how many bytes the clones share.
func (s Source) Stored() int64 { return s.Info().Stored }

// Source boots the program until it asks for its first message, or opens its snapshot.
func (p Program) Source(ctx context.Context, out pool.Output) (pool.Source, error) {
	if hv.IsSnapshot(p.From) {
		return p.open()
	}
	image, err := p.image(ctx)
	if err != nil {
		return nil, err
	}
	if p.Within > 0 {
		limited, stop := context.WithTimeoutCause(ctx, p.Within, ErrTimeout)
		defer stop()
		ctx = limited
	}
	out.Begin("boot")
	s, err := hv.Boot(ctx, hv.Config{
		Image: image, Memory: p.Memory, Args: append([]string{p.name()}, p.Args...), Env: p.Env,
		Stdout: out.Stdout(), Stderr: out.Stderr(),
		Messages: true, Ready: hypercall.ReadyMessage,
	})
	out.End()
	if err != nil {
		return nil, p.notReady(err)
	}
	return Source{s}, nil
}

func (p Program) open() (pool.Source, error) {
	s, err := hv.OpenSnapshot(p.From)
	switch {
	case err != nil:
		return nil, err
	case !s.Info().Messages:
		return nil, errors.Join(fmt.Errorf("%s: its program gets no messages", p.From), s.Close())
	}
	return Source{s}, nil
}

// image is the file to boot: what From is, or what it is built to in pvrun's cache.
func (p Program) image(ctx context.Context) (string, error) {
	info, err := os.Stat(p.From)
	switch {
	case strings.HasSuffix(p.From, ".go"):
	case err == nil && !info.IsDir():
		return p.From, nil
	case err != nil && (!errors.Is(err, fs.ErrNotExist) || isFileName(p.From)):
		return "", &hv.ImageError{Path: p.From, Err: errors.Unwrap(err)}
	}
	var messages bytes.Buffer
	res, err := build.Build(ctx, build.Config{Package: []string{p.From}, Stdout: &messages, Stderr: &messages})
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, bytes.TrimSpace(messages.Bytes()))
	}
	return res.Image, err
}

func isFileName(name string) bool {
	return strings.HasSuffix(name, ".img") || strings.HasSuffix(name, ".snap")
}

// name is the program's name for itself.
func (p Program) name() string {
	abs, err := filepath.Abs(p.From)
	if err != nil {
		abs = p.From
	}
	return strings.TrimSuffix(filepath.Base(abs), ".img")
}

// NotReadyError is a program that came to no message; another start, or another image,
// may.
type NotReadyError struct{ text string }

func (e *NotReadyError) Error() string { return e.text }

func (p Program) notReady(err error) error {
	var ended *hv.NotReadyError
	var fault *hv.GuestFault
	const lacking = "it has not asked for a message, as function.Handle does"
	switch {
	case errors.As(err, &ended):
		return &NotReadyError{fmt.Sprintf("%v: %s", err, lacking)}
	case errors.Is(err, ErrTimeout):
		return &NotReadyError{fmt.Sprintf("the program was not ready after %v: %s", p.Within, lacking)}
	case errors.As(err, &fault):
		return &NotReadyError{err.Error()}
	}
	return err
}
