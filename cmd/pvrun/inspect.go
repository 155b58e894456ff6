package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pvrun/pvrun/build"
)

const inspectHelp = `Show what is in an image: its note and manifest, the segments of memory that
it fills, its root file system, the Go version and modules it was built from,
and the places that hold the bytes of a SYSCALL instruction (0F 05).

` + sensitiveHelp

func newInspect(s streams) *cobra.Command {
	var output outputFormat
	var sensitive sensitiveFlags
	cmd := &cobra.Command{
		Use:   "inspect [--sensitive [--strict] [-v]] [-o table|json] IMAGE",
		Short: "Show what is in an image",
		Long:  inspectHelp,
		Args:  needsOne("an image"),

		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := sensitive.check(cmd); err != nil {
				return err
			}
			if sensitive.on {
				return sensitive.inspect(s.out, args[0], output)
			}
			info, err := build.Inspect(args[0])
			if err != nil {
				return err
			}
			if output == formatJSON {
				return writeJSON(s.out, info)
			}
			return writeInfo(s.out, info)
		},
	}
	output.register(cmd)
	sensitive.register(cmd)
	return cmd
}

// outputFormat is the value of a flag -o.
type outputFormat string

const (
	formatTable outputFormat = "table"
	formatJSON  outputFormat = "json"
)

func (o *outputFormat) register(cmd *cobra.Command) {
	*o = formatTable
	cmd.Flags().VarP(o, "output", "o", "`FORMAT` of the output: table or json")
	cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(
		[]string{string(formatTable), string(formatJSON)}, cobra.ShellCompDirectiveNoFileComp))
}

func (o *outputFormat) String() string { return string(*o) }
func (o *outputFormat) Type() string   { return "format" }
func (o *outputFormat) Set(s string) error {
	*o = outputFormat(s)
	if *o != formatTable && *o != formatJSON {
		return errors.New("must be table or json")
	}
	return nil
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// sections writes titled tables one below the other.
type sections struct {
	w   *tabwriter.Writer
	any bool
}

func (s *sections) title(text string, columns ...string) {
	s.w.Flush() // each section has its own column widths
	if s.any {
		fmt.Fprintln(s.w)
	}
	s.any = true
	fmt.Fprintln(s.w, text)
	if len(columns) > 0 {
		s.row(columns...)
	}
}

func (s *sections) row(cells ...string) {
	fmt.Fprintln(s.w, "  "+strings.Join(cells, "\t"))
}

func writeInfo(w io.Writer, info build.Info) error {
	s := &sections{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	s.title("Image")
	s.row("size", fmt.Sprint(info.Size))
	s.row("entry", info.Entry)
	s.row("abi", fmt.Sprint(info.Note.ABI))
	s.row("requires", strings.Join(info.Note.Required, ","))
	s.row("uses", strings.Join(info.Note.Usable, ","))
	s.manifest(info.Manifest)
	s.title("Segments", "ADDR", "PERM", "MEMORY", "FILE")
	for _, seg := range info.Segments {
		s.row(seg.Addr, seg.Perm, fmt.Sprint(seg.MemSize), fmt.Sprint(seg.FileSize))
	}
	s.rootFS(info.RootFS)
	s.title("Go", "MODULE", "VERSION")
	for _, m := range info.Go.Modules {
		s.row(m.Path, m.Version+arrow(m.Replace))
	}
	s.syscalls(info.Syscalls)
	return s.w.Flush()
}

func (s *sections) manifest(m build.Manifest) {
	s.title("Manifest")
	s.row("package", m.Package)
	s.row("module", m.Module)
	s.row("go", m.Go)
	s.row("pvrun", m.Pvrun)
	if m.RootFS != nil {
		s.row("rootfs", fmt.Sprintf("%s, %d bytes, sha256 %s", fileCount(m.RootFS.Files), m.RootFS.Bytes, m.RootFS.SHA256))
	}
}

func fileCount(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

func (s *sections) rootFS(list []build.File) {
	if len(list) == 0 {
		return
	}
	s.title("Root file system", "MODE", "SIZE", "NAME")
	for _, f := range list {
		s.row(f.Mode, fmt.Sprint(f.Size), quoted(f.Name)+arrow(quoted(f.Link)))
	}
}

func (s *sections) syscalls(list []build.Site) {
	s.title("SYSCALL sites")
	if len(list) == 0 {
		s.row("none")
	}
	for _, site := range list {
		where := ""
		if site.File != "" {
			where = fmt.Sprintf("%s:%d", site.File, site.Line)
		}
		s.row(site.Addr, site.Kind, quoted(site.Func), quoted(where))
	}
}

// quoted makes names from an image safe for a terminal.
func quoted(s string) string {
	q := fmt.Sprintf("%q", s)
	if q == `"`+s+`"` {
		return s
	}
	return q
}

func arrow(to string) string {
	if to == "" {
		return ""
	}
	return " -> " + to
}
