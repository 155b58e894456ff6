package main

import (
	"bytes"
	"errors"
	"testing"
	"testing/fstest"

	"github.com/pvrun/pvrun/hv"
)

// files is a host's file system.
func files(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for ; len(pairs) > 0; pairs = pairs[2:] {
		m[pairs[0]] = &fstest.MapFile{Data: []byte(pairs[1] + "\n")}
	}
	return m
}

// TestDoctorHosts is what a diagnosis says on hosts of different kinds.
func TestDoctorHosts(t *testing.T) {
	const (
		cpu   = "proc/cpuinfo"
		pages = "sys/kernel/mm/transparent_hugepage/enabled"
		flaws = "sys/devices/system/cpu/vulnerabilities/"
	)
	for _, test := range []struct {
		name  string
		host  host
		costs hv.Costs
	}{
		{"nested", host{files(
			cpu, "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu lm hypervisor\n\nprocessor\t: 1\nmodel name\t: other",
			"sys/module/kvm/parameters/tdp_mmu", "N", "sys/module/kvm/parameters/nx_huge_pages", "N",
			pages, "always [madvise] never", flaws+"l1tf", "Not affected", flaws+"spectre_v2", "Mitigation: Retpolines",
		), 2, "kvm_pvm", nil, nil}, hv.Costs{UserNS: 0.14, RingZeroNS: 671.6, KernelExitNS: 2950, ExitNS: 32205, FaultNS: 31625, PageNS: 5399}},
		{"intel", host{files(
			cpu, "model name\t: Intel(R) Xeon(R)\nflags\t\t: fpu vmx lm",
			"sys/module/kvm_intel/parameters/ept", "N", "sys/module/kvm/parameters/nx_huge_pages", "Y",
			"sys/module/kvm/parameters/tdp_mmu", "N", pages, "always madvise [never]",
			flaws+"itlb_multihit", "KVM: Mitigation: Split huge pages", flaws+"mds", "Mitigation: Clear CPU buffers",
			flaws+"spectre_v1", "Mitigation: usercopy barriers", flaws+"srbds", "Vulnerable",
		), 16, "kvm_intel", nil, nil}, hv.Costs{UserNS: 0.2, RingZeroNS: 0.2, KernelExitNS: 700, ExitNS: 1300, FaultNS: 1500, PageNS: 300}},
		{"amd", host{files(
			cpu, "model name\t: AMD Ryzen\nflags\t\t: fpu svm npt", "sys/module/kvm_amd/parameters/npt", "1",
			"sys/module/kvm/parameters/tdp_mmu", "Y", pages, "[always] madvise never", flaws+"l1tf", "Not affected",
		), 1, "kvm_amd", nil, nil}, hv.Costs{UserNS: 0.2, RingZeroNS: 0.2, KernelExitNS: 700, ExitNS: 1300, FaultNS: 1500, PageNS: 300}},
		{"no-kvm", host{files(cpu, "flags : lm"), 4, "unknown", errors.New("open /dev/kvm: no such file or directory"), nil}, hv.Costs{}},
		{"nothing", host{files(cpu, "flags : lm"), 4, "unknown", errors.New("no KVM"), errors.New("no seccomp")}, hv.Costs{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := diagnosis{OK: true}
			d.add(test.host.engine())
			if test.host.kvm == nil {
				f := finding{Name: "virtual machine", OK: true}
				f.Detail, f.Hint = costs(test.costs)
				d.add(f)
			}
			d.add(test.host.processor())
			d.add(test.host.options())
			d.add(test.host.mitigations())
			d.add(test.host.hugePages())
			var out bytes.Buffer
			if err := d.writeTable(&out); err != nil {
				t.Fatal(err)
			}
			golden(t, "doctor-"+test.name, out.String())
			if d.OK != (test.host.kvm == nil || test.host.process == nil) {
				t.Errorf("it is %v that everything is there that has to be", d.OK)
			}
		})
	}
}
