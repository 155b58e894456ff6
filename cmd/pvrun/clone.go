package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/spf13/pflag"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
)

// instance is a machine made from a snapshot.
type instance interface {
	machine
	Invoke(context.Context, []byte) (hv.Response, error)
	Rewind() error
	Close() error
}

// snapshot is what pvrun needs of an *hv.Snapshot; tests have one without KVM.
type snapshot interface {
	New(hv.Clone) (instance, error)
	Info() hv.SnapshotInfo
	Save(path string) error
	Close() error
}

type hvSnapshot struct{ *hv.Snapshot }

func (s hvSnapshot) New(c hv.Clone) (instance, error) {
	vm, err := s.Snapshot.New(c)
	if err != nil {
		return nil, err
	}
	return vm, nil
}

var isSnapshot = hv.IsSnapshot

var bootSnapshot = func(ctx context.Context, cfg hv.Config) (snapshot, error) {
	s, err := hv.Boot(ctx, cfg)
	return hvSnapshot{s}, err
}

// openSnapshot opens a snapshot's file, once when one machine is all that is made of it.
var openSnapshot = func(path string, once bool) (snapshot, error) {
	open := hv.OpenSnapshot
	if once {
		open = hv.OpenSnapshotOnce
	}
	s, err := open(path)
	return hvSnapshot{s}, err
}

// resume runs the program of a snapshot on from where it was.
func (r *runFlags) resume(ctx context.Context, path string, args []string) error {
	if err := r.fits(path, args); err != nil {
		return err
	}
	s, err := openSnapshot(path, true)
	if err != nil {
		return notThere(err)
	}
	if s.Info().Moment == hypercall.ReadyMessage {
		fmt.Fprintln(r.err, "pvrun: the program waits for messages: 'pvrun invoke' sends them")
	}
	net, err := r.network.clones(s.Info(), r.warn)
	if err != nil {
		return err
	}
	cards, leave, err := net.join()
	if err != nil {
		return err
	}
	err = r.start(ctx, func() (machine, error) {
		return s.New(hv.Clone{
			Stdin: r.in, Stdout: r.out, Stderr: r.err,
			Hostname: r.network.name, CollectKVMStats: r.stats != "", NICs: cards,
		})
	})
	leave()
	return firstError(err, r.network.close())
}

// warn tells of what went wrong while a machine runs.
func (r *runFlags) warn(err error) { fmt.Fprintln(r.err, "pvrun:", err) }

// forSnapshots are the flags that can be given with a snapshot.
var forSnapshots = []string{
	"name", "timeout", "stats", "data", "count", "workers", "isolation", "fresh", "output", "print",
	"net", "publish", "ip", "gateway", "dns", "mac", "mtu", "net-rate", "pcap",
}

// fits says what cannot be had of a snapshot any more.
func (r *runFlags) fits(path string, args []string) (err error) {
	refuse := func(what string) {
		err = r.usage(fmt.Errorf("%s: %s is a snapshot, whose program has begun already", what, path))
	}
	r.given.Visit(func(f *pflag.Flag) {
		if !slices.Contains(forSnapshots, f.Name) {
			refuse("--" + f.Name)
		}
	})
	if err == nil && len(args) > 0 {
		refuse(fmt.Sprintf("argument %q", args[0]))
	}
	return err
}

// notThere gives an image or a snapshot that is not there its exit code.
func notThere(err error) error {
	var snapshot *hv.SnapshotError
	if errors.Is(err, fs.ErrNotExist) && (isImageError(err) || errors.As(err, &snapshot)) {
		return exitError{exitNotFound, err}
	}
	return err
}

// ending is how a program ended, in words.
func ending(exit hv.Exit) string {
	if exit.Signal != 0 {
		return fmt.Sprintf("the program was killed by signal %d", exit.Signal)
	}
	return fmt.Sprintf("the program ended with exit code %d", exit.Code)
}
