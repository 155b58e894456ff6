package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/boot"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/config"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/fleet"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/gateway"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/logs"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
)

const (
	headerTime = 10 * time.Second // for a request's header
	idleTime   = 2 * time.Minute  // of a connection
	logTime    = time.Second      // for what the log has left at the end
)

// server is pvrun serve at work.
type server struct {
	line    config.Line
	config  config.Config
	log     *slog.Logger
	gateway *gateway.Gateway
	fleet   *fleet.Fleet
	http    http.Server
	end     context.CancelCauseFunc // of all invocations
}

func (v *flags) serve(cmd *cobra.Command, args []string, stderr io.Writer) error {
	handler, err := v.logHandler(stderr)
	if err != nil {
		return err
	}
	if err := v.settle(cmd, args); err != nil {
		return err
	}
	s := &server{line: v.line}
	if s.config, err = v.line.Read(); err != nil {
		return usage(err)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	signal.Ignore(syscall.SIGPIPE) // a log that nobody reads any more is no end
	listener, err := net.Listen("tcp", s.config.Listen)
	if err != nil {
		return err
	}
	queue := logs.NewQueue(handler)
	defer queue.Close(logTime)
	s.open(slog.New(queue))
	return s.run(cmd.Context(), listener, signals)
}

// open makes what the server consists of.
func (s *server) open(log *slog.Logger) {
	s.log = log
	s.gateway = gateway.New(log)
	s.fleet = fleet.New(log, s.gateway)
	ctx, end := context.WithCancelCause(context.Background())
	s.end = end
	s.http = http.Server{
		Handler: s.gateway, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// run serves until it is told to end.
func (s *server) run(ctx context.Context, l net.Listener, signals <-chan os.Signal) error {
	defer s.close()
	failed := make(chan error, 2)
	go func() { failed <- s.http.Serve(l) }()
	s.log.Info("listening", "address", l.Addr().String())
	go func(wait func() []error) {
		if err := fatal(wait()); err != nil {
			failed <- err
		}
	}(s.apply(false))
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-failed:
			s.http.Close()
			return err
		case now := <-tick.C:
			s.fleet.Tick(now)
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				s.reload()
				continue
			}
			s.drain(signals)
			return nil
		case <-ctx.Done():
			s.drain(signals)
			return nil
		}
	}
}

// apply makes the functions those of the configuration. A thread that is in a guest is
// one that runs, for Go's scheduler: all else needs some beside them.
func (s *server) apply(all bool) func() []error {
	wait := s.fleet.Apply(s.config, all)
	if want := s.fleet.Threads() + runtime.NumCPU(); runtime.GOMAXPROCS(0) < want {
		runtime.GOMAXPROCS(want)
	}
	return wait
}

// fatal is what is wrong with an image, of the errors of boots: a program that does not
// become ready is no reason not to serve the others.
func fatal(errs []error) error {
	for _, err := range errs {
		var notReady *boot.NotReadyError
		if !errors.As(err, &notReady) && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return nil
}

// reload reads the configuration anew and boots all functions anew.
func (s *server) reload() {
	c, err := s.line.Read()
	if err != nil {
		s.log.Error("not reloaded, the old configuration holds", "error", err)
		return
	}
	if c.Listen != s.config.Listen {
		s.log.Warn("another address needs a new start", "listen", s.config.Listen)
		c.Listen = s.config.Listen
	}
	s.log.Info("reloading", "functions", len(c.Functions))
	s.config = c
	s.apply(true)
}

// close ends what is there yet.
func (s *server) close() {
	s.end(nil)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	s.fleet.Close(over)
}

// drain ends the server when what is under way has been answered and programs that have
// state have ended, or after a time, or at the next signal that asks to end. Programs
// whose requests last longer than half of that time are asked to end.
func (s *server) drain(signals <-chan os.Signal) {
	s.log.Info("draining", "most", s.config.Drain)
	ctx, cancel := context.WithTimeout(context.Background(), s.config.Drain)
	defer cancel()
	defer time.AfterFunc(s.config.Drain/2, s.fleet.Terminate).Stop()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.finish(ctx)
	}()
	for {
		select {
		case <-drained:
			return
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				cancel()
			}
		}
	}
}

// finish waits for all requests, and then for connections that have become another
// protocol's, and programs.
func (s *server) finish(ctx context.Context) {
	defer context.AfterFunc(ctx, func() { s.end(pool.ErrClosed) })()
	if s.http.Shutdown(ctx) != nil {
		s.log.Warn("ended with invocations under way")
		s.end(pool.ErrClosed)
		time.AfterFunc(time.Second, func() { s.http.Close() })
		_ = s.http.Shutdown(context.Background()) // they are answered that they are over
	}
	s.fleet.Close(ctx)
}
