package main

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// host is what a diagnosis looks at of the machine that it is made on.
type host struct {
	files   fs.FS  // the root of the host's file system
	cpus    int    // that may be used
	backend string // of KVM, or "unknown"
	kvm     error  // why KVM cannot be used
	process error  // why processes cannot run guests
}

// text is a file's contents without blanks around them; "" where there is none.
func (h host) text(name string) string {
	b, _ := fs.ReadFile(h.files, name)
	return strings.TrimSpace(string(b))
}

// engine says what will run guests, and why that.
func (h host) engine() finding {
	f := finding{Name: "engine", Required: true}
	switch f.OK = h.kvm == nil || h.process == nil; {
	case !f.OK:
		f.Detail = "none: neither a virtual machine nor a process can run guests here"
		f.Hint = "see /dev/kvm above"
		return f
	case h.kvm != nil:
		f.Detail = "proc, a process behind seccomp alone: there is no KVM"
		f.Hint = "with /dev/kvm, see above, guests have virtual machines, and there are snapshots and functions"
		return f
	}
	f.Detail = "kvm, a virtual machine: /dev/kvm can be used; back end " + h.backend
	if how := map[string]string{
		"kvm_intel": "the processor's VT-x",
		"kvm_amd":   "the processor's SVM",
		"kvm_pvm":   "no help of the processor's",
	}[h.backend]; how != "" {
		f.Detail += ", with " + how
	}
	return f
}

// processor says whether the processor helps with virtual machines.
func (h host) processor() finding {
	f := finding{Name: "processor", OK: true}
	info := h.text("proc/cpuinfo")
	f.Detail = cpuinfo(info, "model name")
	if f.Detail == "" {
		f.Detail = "unknown"
	}
	f.Detail += fmt.Sprintf(", %d to use", h.cpus)
	flags := strings.Fields(cpuinfo(info, "flags"))
	has := func(flag string) bool { return slices.Contains(flags, flag) }
	switch {
	case has("vmx"):
		f.Detail += ", VT-x"
	case has("svm"):
		f.Detail += ", SVM"
	default:
		f.OK = false
		f.Detail += ", neither VT-x nor SVM"
		f.Hint = "enable virtualization in the firmware: each exit costs much less with it"
		if has("hypervisor") {
			f.Hint = "this is a virtual machine itself: each exit costs much less where its host allows nested ones (option nested=1 of kvm_intel or kvm_amd)"
		}
	}
	if h.cpus == 1 && f.Hint == "" {
		f.OK, f.Hint = false, "with a second processor, pvrun polls for a disk's and a network's work in place of sleeping"
	}
	return f
}

// cpuinfo is the first value of a key in /proc/cpuinfo.
func cpuinfo(info, key string) string {
	for line := range strings.Lines(info) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// option is one of KVM's that makes machines slow.
type option struct {
	name string // module and parameter
	slow []string
	why  string
}

// options of the modules (Linux, Documentation/admin-guide/kernel-parameters.txt).
// halt_poll_ns is none: guest code that waits does so outside of KVM.
var options = []option{
	{"kvm_intel/ept", []string{"N", "0"}, "without EPT KVM shadows page tables: load kvm_intel with ept=1"},
	{"kvm_amd/npt", []string{"N", "0"}, "without NPT KVM shadows page tables: load kvm_amd with npt=1"},
	{"kvm/tdp_mmu", []string{"N", "0"}, "kvm with tdp_mmu=1 takes page faults faster"},
	{"kvm/nx_huge_pages", []string{"Y", "1", "force"}, "kvm with nx_huge_pages=off keeps code in huge pages: for hosts that trust their guests, or whose processor has no such erratum"},
}

// options says which of them are set so.
func (h host) options() finding {
	f := finding{Name: "KVM options", OK: true}
	var all, hints []string
	for _, o := range options {
		module, parameter, _ := strings.Cut(o.name, "/")
		v := h.text(path.Join("sys/module", module, "parameters", parameter))
		if v == "" || parameter == "tdp_mmu" && h.backend == "kvm_pvm" { // which has no use for it
			continue
		}
		all = append(all, parameter+"="+v)
		if slices.Contains(o.slow, v) {
			hints = append(hints, o.why)
		}
	}
	if f.Detail = strings.Join(all, " "); f.Detail == "" {
		f.Detail = "none that matter"
	}
	if len(hints) > 0 {
		f.OK, f.Hint = false, strings.Join(hints, "; ")
	}
	return f
}

// mitigations counts those of the processor's flaws that the kernel works against
// (Linux, Documentation/ABI/testing/sysfs-devices-system-cpu).
func (h host) mitigations() finding {
	const dir = "sys/devices/system/cpu/vulnerabilities"
	f := finding{Name: "mitigations", OK: true, Detail: "none"}
	entries, _ := fs.ReadDir(h.files, dir)
	var active []string
	for _, e := range entries {
		if strings.Contains(h.text(path.Join(dir, e.Name())), "Mitigation: ") {
			active = append(active, e.Name())
		}
	}
	if len(active) > 0 {
		f.Detail = strings.Join(active, ", ")
		f.Hint = "system calls and exits pay for them; where nobody else's code runs on the host, mitigations=off on its kernel's command line saves that"
	}
	return f
}

// hugePages tells the setting that first touches of memory depend on.
func (h host) hugePages() finding {
	const enabled = "sys/kernel/mm/transparent_hugepage/enabled"
	f := finding{Name: "huge pages", OK: true}
	_, rest, _ := strings.Cut(h.text(enabled), "[")
	switch f.Detail, _, _ = strings.Cut(rest, "]"); f.Detail {
	case "":
		f.OK, f.Detail, f.Hint = false, "none", "with transparent huge pages in the kernel, memory is faster at its first touch"
	case "never":
		f.OK, f.Hint = false, "echo madvise > /"+enabled+" makes first touches of memory faster"
	}
	return f
}
