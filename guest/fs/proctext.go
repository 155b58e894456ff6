package fs

import (
	"strconv"
	"strings"
)

// systemFiles are the files of /proc that speak of the machine.
func systemFiles() []procFile {
	return []procFile{
		{"cpuinfo", procCPUInfo},
		{"meminfo", procMemInfo},
		{"uptime", procUptime},
		{"loadavg", fixed("0.00 0.00 0.00 1/1 1\n")},
		{"stat", procStat},
		{"version", fixed("Linux version " + Release + " (pvrun) #1\n")},
		{"filesystems", fixed("nodev\ttmpfs\nnodev\tproc\n")},
		{"sys/kernel/hostname", func(fs *FS) string { return fs.Hostname() + "\n" }},
		{"sys/kernel/osrelease", fixed(Release + "\n")},
		{"sys/kernel/ostype", fixed("Linux\n")},
		{"sys/kernel/version", fixed("#1\n")},
		{"sys/kernel/pid_max", fixed("32768\n")},
		{"sys/kernel/cap_last_cap", fixed("40\n")},
		{"sys/kernel/random/boot_id", func(fs *FS) string { return uuid(fs.host.InstanceID()) }},
		{"sys/kernel/random/uuid", procUUID},
		{"sys/net/core/somaxconn", fixed("4096\n")},
		{"sys/fs/file-max", fixed("65536\n")},
		{"sys/fs/nr_open", fixed("65536\n")},
		{"sys/fs/pipe-max-size", fixed("1048576\n")},
		{"sys/vm/overcommit_memory", fixed("0\n")},
		{"sys/vm/max_map_count", fixed("65530\n")},
	}
}

// selfFiles are the files of /proc/self, or of one of its threads.
func selfFiles(thread int) []procFile {
	return []procFile{
		{"cmdline", func(fs *FS) string { return nulList(fs.host.Args) }},
		{"environ", func(fs *FS) string { return nulList(fs.host.Env) }},
		{"comm", func(fs *FS) string { return fs.thread(thread).Name + "\n" }},
		{"status", func(fs *FS) string { return procStatus(fs, thread) }},
		{"stat", func(fs *FS) string { return procSelfStat(fs, thread) }},
		{"statm", procStatm},
		{"maps", procMaps},
		{"limits", procLimits},
		{"mounts", procMounts},
		{"mountinfo", procMountInfo},
		{"cgroup", fixed("0::/\n")},
		{"oom_score_adj", fixed("0\n")},
		{"uid_map", fixed("         0          0 4294967295\n")},
		{"gid_map", fixed("         0          0 4294967295\n")},
	}
}

func procMounts(fs *FS) string {
	s := "rootfs / tmpfs rw 0 0\ndev /dev tmpfs rw 0 0\nproc /proc proc rw 0 0\n"
	for _, m := range fs.mounts {
		s += "share " + m.shownPath() + " 9p " + m.access() + " 0 0\n"
	}
	return s
}

func procMountInfo(fs *FS) string {
	s := "1 1 0:21 / / rw - tmpfs rootfs rw\n2 1 0:22 / /dev rw - tmpfs dev rw\n3 1 0:23 / /proc rw - proc proc rw\n"
	for i, m := range fs.mounts {
		s += strconv.Itoa(i+4) + " 1 0:" + strconv.Itoa(int(minor(m.dev))) + " / " + m.shownPath() + " " + m.access() +
			" - 9p share " + m.access() + "\n"
	}
	return s
}

// Release is the kernel release that uname and /proc tell.
const Release = "6.1.0-pvrun"

func fixed(s string) func(*FS) string { return func(*FS) string { return s } }

// nulList joins strings as cmdline and environ do: each with its NUL.
func nulList(list []string) string {
	var b strings.Builder
	for _, s := range list {
		b.WriteString(s)
		b.WriteByte(0)
	}
	return b.String()
}

// comm is the program's short name, 15 bytes at most.
func (fs *FS) comm() string {
	name := fs.exePath()
	name = name[strings.LastIndexByte(name, '/')+1:]
	return name[:min(len(name), 15)]
}

func procCPUInfo(fs *FS) string {
	var b strings.Builder
	for i := range fs.host.CPUs {
		b.WriteString("processor\t: " + strconv.Itoa(i) + "\nvendor_id\t: pvrun\nmodel name\t: pvrun virtual CPU\nflags\t\t: fpu tsc sse sse2\n\n")
	}
	return b.String()
}

func procMemInfo(fs *FS) string {
	total := int64(fs.host.MemBytes >> 10)
	free := total - fs.space.pages.Load()*(pageSize>>10)
	var b strings.Builder
	for _, row := range [...]struct {
		name string
		kb   int64
	}{
		{"MemTotal:", total}, {"MemFree:", free}, {"MemAvailable:", free}, {"Buffers:", 0},
		{"Cached:", total - free}, {"SwapTotal:", 0}, {"SwapFree:", 0},
	} {
		n := strconv.FormatInt(row.kb, 10)
		b.WriteString(row.name + strings.Repeat(" ", max(1, 24-len(row.name)-len(n))) + n + " kB\n")
	}
	return b.String()
}

// hundredths is a time in ns as seconds with two places.
func hundredths(ns int64) string {
	frac := strconv.FormatInt(ns/1e7%100, 10)
	return strconv.FormatInt(ns/1e9, 10) + "." + strings.Repeat("0", 2-len(frac)) + frac
}

func procUptime(fs *FS) string { return hundredths(fs.host.Mono()) + " 0.00\n" }

func procStat(fs *FS) string {
	ticks := strconv.FormatInt(fs.host.Mono()/1e7, 10)
	row := " " + ticks + " 0 0 0 0 0 0 0 0 0\n"
	s := "cpu " + row
	for i := range fs.host.CPUs {
		s += "cpu" + strconv.Itoa(i) + row
	}
	born := (fs.host.Now() - fs.host.Mono()) / 1e9
	return s + "btime " + strconv.FormatInt(born, 10) + "\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n"
}

func procStatm(fs *FS) string {
	pages := strconv.FormatUint(fs.host.MemBytes/pageSize, 10)
	return pages + " " + pages + " 0 0 0 0 0\n"
}

func procLimits(*FS) string {
	return "Limit                     Soft Limit           Hard Limit           Units     \n" +
		"Max open files            65536                65536                files     \n"
}

func procUUID(fs *FS) string {
	var id [16]byte
	b := make([]byte, 16)
	fs.host.Entropy(b)
	copy(id[:], b)
	return uuid(id)
}

// uuid formats an identity as RFC 9562 does, version 4.
func uuid(id [16]byte) string {
	const digits = "0123456789abcdef"
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	var b strings.Builder
	for i, c := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			b.WriteByte('-')
		}
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String() + "\n"
}
