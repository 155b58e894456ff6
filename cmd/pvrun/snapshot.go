package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/compare"
)

const snapshotHelp = `Boot a unikernel image, or the image of a Go package, until its program is ready,
and write a snapshot of the machine to a file.

'pvrun run SNAP' runs the program on from there, 'pvrun invoke SNAP' sends it
messages; both as often as one likes. What is in the machine's memory then is in
the file: see that no secrets are. What the program writes before it is ready
goes to stderr, and it has nothing to read.

With --net the program has a network while it becomes ready, and so has each machine
that is made of it, with an address of its own: what was connected is reset there.
A machine with folders or disks cannot be made a snapshot of yet.

Exit codes: 123 the program ended before it was ready; 128+n when signal n ended
pvrun; 124 time-out; 125 an error of pvrun or of the host; 126 a guest fault; 127
no such image or package.`

// snapshotFlags are what the command line of `pvrun snapshot` says.
type snapshotFlags struct {
	bootFlags
	output string
	force  bool
}

func newSnapshot(s streams) *cobra.Command {
	n := snapshotFlags{bootFlags: newBoot(s, "snapshot")}
	cmd := &cobra.Command{
		Use:   "snapshot [flags] IMAGE|PKG [-o SNAP] [-- args...]",
		Short: "Boot an image until its program is ready and keep the machine",
		Long:  snapshotHelp,
		Args:  needs("an image or a package"),

		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runError(n.run(cmd.Context(), args, cmd.ArgsLenAtDash()))
		},
	}
	f := cmd.Flags()
	n.addFlags(f, "give up when the program is not ready after `DURATION`; 0 is never")
	n.network.addFlags(f, "p", "none")
	f.Var(&n.ready, "ready", "the program is ready at the first of a `LIST` of moments: message, when it asks for its first message; listen:PORT, when it waits for a connection to that TCP port; connect or connect:PORT, when it connects to 127.0.0.1:PORT, 9001 if none is given, where the host is to answer; call, when it calls function.Ready")
	f.StringVarP(&n.output, "output", "o", "", "write the snapshot to `SNAP` (default: the program's name and .snap)")
	cmd.RegisterFlagCompletionFunc("ready", cobra.FixedCompletions([]string{"message", "listen:", "connect", "call"}, cobra.ShellCompDirectiveNoFileComp))
	f.BoolVarP(&n.force, "force", "f", false, "replace a file that is there")
	return cmd
}

func (n *snapshotFlags) run(ctx context.Context, args []string, dash int) error {
	pkg, rest, err := n.split(args, dash)
	if err != nil {
		return err
	}
	if n.output == "" {
		n.output = argv0(pkg) + ".snap"
	}
	if err := firstError(n.checkTimeout(), n.checkImage(pkg[0]), n.checkOutput()); err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	s, err := n.boot(ctx, pkg, rest)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Save(n.output); err != nil {
		return err
	}
	return firstError(n.tell(s.Info()), n.network.close())
}

func (n *snapshotFlags) tell(info hv.SnapshotInfo) error {
	_, err := fmt.Fprintf(n.out, "%s: %s pages, %.1f MiB, ready after %s\n", n.output,
		compare.NumberText(float64(info.Stored/hypercall.PageSize)), float64(info.Stored)/(1<<20), compare.TimeText(float64(n.took)))
	return err
}

func (n *snapshotFlags) checkImage(image string) error {
	if isSnapshot(image) {
		return n.usage(fmt.Errorf("%s is a snapshot already", image))
	}
	return nil
}

// checkOutput finds out before the program runs whether its snapshot can be written
// after it.
func (n *snapshotFlags) checkOutput() error {
	switch _, err := os.Lstat(n.output); {
	case err == nil && !n.force:
		return fmt.Errorf("write %s: it is there already (-f replaces it)", n.output)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("write %s: %w", n.output, cause(err))
	}
	if info, err := os.Stat(n.output); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("write %s: it is no regular file", n.output)
	}
	if err := unix.Access(filepath.Dir(n.output), unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("write %s: folder %s: %w", n.output, filepath.Dir(n.output), err)
	}
	return nil
}
