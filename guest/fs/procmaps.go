package fs

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// procMaps is the address space in ascending order.
func procMaps(fs *FS) string {
	list := fs.mappedAreas()
	if fs.host.Areas != nil {
		for _, a := range fs.host.Areas() {
			list = append(list, fs.mapArea(a))
		}
	}
	slices.SortFunc(list, func(a, b mapLine) int { return cmp.Compare(a.start, b.start) })
	var b strings.Builder
	for i := 0; i < len(list); {
		l := list[i]
		for i++; i < len(list) && l.goesOn(list[i]); i++ {
			l.end = list[i].end
		}
		l.print(&b)
	}
	return b.String()
}

// mapLine is a line of /proc/self/maps.
type mapLine struct {
	start, end uintptr
	prot       int
	shared     bool
	offset     uint64
	dev, ino   uint64
	name       string
}

// goesOn is whether o is more of the same memory.
func (l mapLine) goesOn(o mapLine) bool {
	return l.name == "" && o.name == "" && l.end == o.start && l.prot == o.prot
}

// print writes a line as Linux does (fs/proc/task_mmu.c, show_map_vma).
func (l mapLine) print(b *strings.Builder) {
	start := b.Len()
	b.WriteString(hex(uint64(l.start), 8) + "-" + hex(uint64(l.end), 8) + " " + l.access() + " " +
		hex(l.offset, 8) + " " + hex(uint64(major(l.dev)), 2) + ":" + hex(uint64(minor(l.dev)), 2) + " " +
		strconv.FormatUint(l.ino, 10) + " ")
	if l.name != "" {
		const nameColumn = 73
		b.WriteString(strings.Repeat(" ", max(0, nameColumn-(b.Len()-start))))
		b.WriteString(strings.ReplaceAll(l.name, "\n", `\012`))
	}
	b.WriteByte('\n')
}

func (l mapLine) access() string {
	s := []byte("---p")
	for i, bit := range [...]int{protRead, protWrite, protExec} {
		if l.prot&bit != 0 {
			s[i] = "rwx"[i]
		}
	}
	if l.shared {
		s[3] = 's'
	}
	return string(s)
}

// hex is v in as many digits as it needs, and at least n.
func hex(v uint64, n int) string {
	s := strconv.FormatUint(v, 16)
	return strings.Repeat("0", max(0, n-len(s))) + s
}

func (fs *FS) mapArea(a Area) mapLine {
	l := mapLine{start: a.Start, end: a.End, prot: a.Prot, name: a.Name}
	if a.Program {
		// The file is nowhere in the tree; its name is that of /proc/self/exe.
		l.offset, l.dev, l.ino, l.name = a.Offset, devRoot, 1, fs.exePath()
	}
	return l
}

// mappedAreas are the shared mappings, each with its file's name now.
func (fs *FS) mappedAreas() []mapLine {
	list, files := fs.listMapped()
	fs.rlockTree()
	defer fs.tree.RUnlock()
	for i, f := range files {
		list[i].name = f.path()
	}
	return list
}

func (fs *FS) listMapped() (list []mapLine, files []*file) {
	fs.maps.mu.Lock()
	defer fs.maps.mu.Unlock()
	for _, n := range fs.maps.nodes {
		n.mu.Lock()
		for _, m := range n.data.share.maps {
			list = append(list, mapLine{
				start: m.addr, end: m.addr + uintptr(m.n)*pageSize, prot: m.prot, shared: true,
				offset: uint64(m.first) * pageSize, dev: n.stDev, ino: n.ino,
			})
			files = append(files, m.file)
		}
		n.mu.Unlock()
	}
	return list, files
}
