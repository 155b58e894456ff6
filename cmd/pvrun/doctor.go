package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pvrun/pvrun/build"
	"github.com/pvrun/pvrun/hv"
)

const doctorHelp = `Check each thing that pvrun needs and say what to do about those that are not
as they should be. Exits with 1 when something required is missing.`

// finding is the outcome of one check.
type finding struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Required bool   `json:"required"`
	Detail   string `json:"detail"`
	Hint     string `json:"hint,omitempty"` // what to do
}

// diagnosis is what `pvrun doctor -o json` prints.
type diagnosis struct {
	OK      bool      `json:"ok"` // everything required is
	Backend string    `json:"backend"`
	Costs   *hv.Costs `json:"costs,omitempty"`         // of a virtual machine
	Process *hv.Costs `json:"process_costs,omitempty"` // of a process in its place
	Checks  []finding `json:"checks"`
}

func newDoctor(s streams) *cobra.Command {
	var output outputFormat
	cmd := &cobra.Command{
		Use:   "doctor [-o table|json]",
		Short: "Check what pvrun needs",
		Long:  doctorHelp,
		Args:  cobra.NoArgs,

		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := diagnose(cmd.Context())
			write := d.writeTable
			if output == formatJSON {
				write = func(w io.Writer) error { return writeJSON(w, d) }
			}
			if err := write(s.out); err != nil || d.OK {
				return err
			}
			return exitError{exitFailure, nil}
		},
	}
	output.register(cmd)
	return cmd
}

// diagnose makes all checks.
func diagnose(ctx context.Context) diagnosis {
	d := diagnosis{OK: true, Backend: hv.Backend()}
	d.add(checkGo(ctx))
	device, err := checkDevice()
	d.add(device)
	machine, machineErr := checkMachine(&d)
	process, processErr := checkProcess(&d)
	if err == nil {
		err = machineErr
	}
	h := host{files: os.DirFS("/"), cpus: runtime.NumCPU(), backend: d.Backend, kvm: err, process: processErr}
	d.add(h.engine())
	d.add(machine)
	d.add(process)
	d.add(h.processor())
	d.add(h.options())
	d.add(h.mitigations())
	d.add(checkCache())
	d.add(checkMemory())
	d.add(h.hugePages())
	d.add(checkUserNetwork())
	d.add(checkTAP())
	return d
}

func (d *diagnosis) add(f finding) {
	d.Checks = append(d.Checks, f)
	d.OK = d.OK && (f.OK || !f.Required)
}

func (d *diagnosis) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range d.Checks {
		state := "ok"
		if !f.OK {
			state = "not ok"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.Name, state, f.Detail)
		if f.Hint != "" {
			fmt.Fprintf(t, "\t\t%s\n", f.Hint)
		}
	}
	return t.Flush()
}

// failed is f as it is after err; hint says what to do.
func (f finding) failed(err error, hint string) finding {
	f.OK, f.Detail, f.Hint = false, err.Error(), hint
	return f
}

func checkGo(ctx context.Context) finding {
	f := finding{Name: "go command", OK: true, Required: true}
	tool, err := build.FindGo(ctx, ".")
	if err != nil {
		return f.failed(err, "install Go "+strings.TrimPrefix(build.GoSupported[0], "go")+".x and put its bin folder on PATH")
	}
	f.Detail = tool.Version + " in " + tool.GOROOT
	return f
}

// checkMachine makes a machine, which needs all that pvrun asks of KVM, and
// measures it.
func checkMachine(d *diagnosis) (finding, error) {
	f := finding{Name: "virtual machine", OK: true}
	c, err := hv.Measure()
	if err != nil {
		hint := "a Linux kernel with KVM is needed, see its log (dmesg)"
		if errors.Is(err, os.ErrPermission) {
			hint = "see /dev/kvm above"
		}
		return f.failed(err, hint), err
	}
	d.Costs = &c
	f.Detail, f.Hint = costs(c)
	return f, nil
}

// checkProcess makes a machine of the process engine's, and measures it.
func checkProcess(d *diagnosis) (finding, error) {
	f := finding{Name: "process", OK: true}
	c, err := hv.MeasureProcess()
	if err != nil {
		return f.failed(err, "only --engine proc needs it"), err
	}
	d.Process = &c
	f.Detail = processCosts(c)
	return f, nil
}

func processCosts(c hv.Costs) string {
	return fmt.Sprintf("instruction %.1f ns, hypercall %.1f µs, page fault %.1f µs, first touch of a page %.1f µs",
		c.UserNS, c.ExitNS/1e3, c.FaultNS/1e3, c.PageNS/1e3)
}

// costs tells what was measured, and what it means where that is much.
func costs(c hv.Costs) (text, hint string) {
	text = fmt.Sprintf("instruction %.1f ns (ring 0: %.1f ns), exit to the kernel %.1f µs, hypercall %.1f µs, page fault %.1f µs, first touch of a page %.1f µs",
		c.UserNS, c.RingZeroNS, c.KernelExitNS/1e3, c.ExitNS/1e3, c.FaultNS/1e3, c.PageNS/1e3)
	if c.RingZeroNS > 100*max(c.UserNS, 0.1) {
		hint = "code in ring 0 is interpreted here; guests of pvrun run in ring 3 in both modes and are not slowed by it"
	}
	return text, hint
}

func checkCache() finding {
	f := finding{Name: "cache", OK: true, Required: true}
	const hint = "set XDG_CACHE_HOME to a folder that you can write to"
	dir, err := build.CacheDir()
	if err != nil {
		return f.failed(err, hint)
	}
	f.Detail = dir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return f.failed(err, hint)
	}
	file, err := os.CreateTemp(dir, "doctor-")
	if err != nil {
		return f.failed(err, hint)
	}
	file.Close()
	os.Remove(file.Name())
	return f
}

// checkMemory looks whether a machine of the default size fits.
func checkMemory() finding {
	f := finding{Name: "memory", OK: true}
	n, err := availableMemory()
	if err != nil {
		return f.failed(err, "")
	}
	f.Detail = fmt.Sprintf("%d MiB available", n>>20)
	if n < hv.DefaultMemory {
		f.OK, f.Hint = false, "give the machine less with -m, or end other programs"
	}
	return f
}

// availableMemory is MemAvailable of /proc/meminfo (proc_meminfo(5)), in bytes.
func availableMemory() (int64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "MemAvailable:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0, errors.New("/proc/meminfo: no MemAvailable")
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	return n << 10, err
}
