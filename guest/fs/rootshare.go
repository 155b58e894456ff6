package fs

// newRoot is the root folder: that of a share, when one is shown at /, or else
// one in memory with the archive's files.
func (fs *FS) newRoot() {
	for _, s := range fs.host.Shares {
		if s.Path == "/" {
			_, fs.root = fs.newMount(s, 0)
			fs.root.dir.parent = fs.root
			return
		}
	}
	fs.root = fs.newDir(devRoot, 0o755)
	fs.root.dir.parent = fs.root
	fs.unpack(fs.host.Archive)
}

// newMount adds a share, the i-th, and makes the inode of its own folder.
func (fs *FS) newMount(s Share, i int) (*mount, *inode) {
	m := &mount{Share: s, fs: fs, dev: makedev(0, uint32(i+1)*devShare), open: make(map[treeID]*inode)}
	fs.mounts = append(fs.mounts, m)
	a, e := s.Files.Stat(TreeRef{Path: "."})
	if e != 0 {
		a.Mode = S_IFDIR | 0o555
	}
	return m, m.newInode(a)
}

// ownDev is the device number for what is in memory below a folder: not a
// share's, whose files nothing in memory can be linked or renamed among.
func (n *inode) ownDev() uint64 {
	if n.dir.source != nil {
		return devRoot
	}
	return n.dev
}
