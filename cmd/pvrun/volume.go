package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pvrun/pvrun/internal/volume"
)

const volumeHelp = `Make, list, remove, fill and check volumes: files of the host's with a file
system of pvrun's own in them, which survives whatever happens. 'pvrun run -v
NAME:/path' shows one to a program.

A volume with a NAME is in $XDG_DATA_HOME/pvrun/volumes, or else in
~/.local/share/pvrun/volumes. Wherever a NAME is asked for, a path with a slash
in it is the file itself. One that a program uses is in use: it shows in ls, and
all else is refused.`

func newVolume(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "volume",
		Short: "Make, list, remove, fill and check volumes",
		Long:  volumeHelp,
		Args:  cobra.NoArgs,

		DisableFlagsInUseLine: true,
		RunE:                  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newVolumeCreate(), newVolumeList(s), newVolumeRemove(), newVolumeCopy(), newVolumeCheck(s))
	for _, sub := range cmd.Commands() {
		checkArgs(sub)
	}
	return cmd
}

func newVolumeCreate() *cobra.Command {
	var size sizeValue
	var from string
	cmd := &cobra.Command{
		Use:   "create NAME --size SIZE [--from DIR]",
		Short: "Make a volume",
		Long: `Make an empty volume, or one with all that is in a folder. Its file takes only
the space that is used.`,
		Args: needsOne("a name"),

		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if size == 0 {
				return usageError{cmd.CommandPath(), errors.New("needs --size, such as --size 1g")}
			}
			if info, err := os.Stat(from); from != "" && err != nil {
				return fmt.Errorf("--from %s: %w", from, cause(err))
			} else if from != "" && !info.IsDir() {
				return fmt.Errorf("--from %s: it is not a folder", from)
			}
			return oneLine(volume.Create(args[0], int64(size), from))
		},
	}
	cmd.Flags().Var(&size, "size", "`SIZE` of the volume, such as 64m or 1g")
	cmd.Flags().StringVar(&from, "from", "", "copy what is in `DIR` into it")
	return cmd
}

func newVolumeList(s streams) *cobra.Command {
	var output outputFormat
	cmd := &cobra.Command{
		Use:   "ls [-o table|json]",
		Short: "List the volumes that have a name",
		Args:  cobra.NoArgs,

		DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			list, err := volume.List()
			if err != nil {
				return err
			}
			if output == formatJSON {
				return writeJSON(s.out, list)
			}
			return writeVolumes(s.out, list)
		},
	}
	output.register(cmd)
	return cmd
}

func writeVolumes(w io.Writer, list []volume.Info) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tSIZE\tUSED\tPATH")
	for _, v := range list {
		size, used := sizeValue(v.Size), sizeValue(v.Used)
		path := v.Path
		if v.Error != "" {
			path += ": " + v.Error
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", v.Name, size.String(), used.String(), path)
	}
	return t.Flush()
}

func newVolumeRemove() *cobra.Command {
	return &cobra.Command{
		Use:   "rm NAME...",
		Short: "Remove volumes, with all that is in them",
		Args:  needs("a name"),

		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			var all []error
			for _, name := range args {
				all = append(all, volume.Remove(name))
			}
			return oneLine(errors.Join(all...))
		},
	}
}

// oneLine is several errors as one line.
func oneLine(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
}

func newVolumeCopy() *cobra.Command {
	return &cobra.Command{
		Use:   "cp SRC DST",
		Short: "Copy files into a volume, or out of it",
		Long: `Copy a file, or a folder with all that is in it, into a volume or out of it. One
of SRC and DST is NAME:/PATH. When DST is a folder SRC is copied into it; with
/. at the end of SRC, what is in SRC is. Modes and times are kept, symbolic
links stay links, and holes stay holes. Out of a volume, names of one file stay
that, where the host can link.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return errors.New("needs SRC and DST")
			}
			return nil
		},

		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			from, src, out := cutVolume(args[0])
			to, dst, in := cutVolume(args[1])
			switch {
			case in == out:
				return usageError{cmd.CommandPath(), errors.New("one of SRC and DST must be NAME:/PATH, and only one")}
			case in:
				return oneLine(volume.CopyIn(src, to, dst))
			}
			return oneLine(volume.CopyOut(from, src, dst))
		},
	}
}

// cutVolume splits NAME:/PATH; ok is whether it is that.
func cutVolume(s string) (name, path string, ok bool) {
	i := strings.LastIndex(s, ":/")
	if i <= 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

func newVolumeCheck(s streams) *cobra.Command {
	var repair bool
	cmd := &cobra.Command{
		Use:   "fsck NAME [--repair]",
		Short: "Check a volume, and repair it",
		Long: `Read all that is in a volume and say what is wrong with it, a line for each.
--repair makes right what can be; files that have lost a part are kept, and
named. Exit codes: 0 nothing is wrong, or not any more; 1 something is, or it
could not be checked.`,
		Args: needsOne("a volume"),

		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := volume.Check(args[0], repair, func(line string) { fmt.Fprintln(s.out, line) })
			if err != nil {
				return oneLine(err)
			}
			end := "clean"
			switch {
			case r.Damage > 0 && r.Repaired:
				end = fmt.Sprintf("%s found and repaired", problems(r.Damage))
			case r.Damage > 0:
				end = problems(r.Damage) + " found"
			}
			fmt.Fprintf(s.out, "%s: %s, %d files, %d folders, %d blocks used\n", args[0], end, r.Files, r.Folders, r.Blocks)
			if r.Damage > 0 && !r.Repaired {
				return exitError{exitFailure, nil}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&repair, "repair", false, "make right what is wrong")
	return cmd
}

func problems(n int) string {
	if n == 1 {
		return "1 problem"
	}
	return fmt.Sprintf("%d problems", n)
}
