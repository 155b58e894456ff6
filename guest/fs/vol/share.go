package vol

import "github.com/pvrun/pvrun/guest/fs"

// Share mounts the volume on a device for a guest's tree, at path. Who starts the
// program has to end it when that fails, with the error as one line: a program
// without its files would do the wrong thing.
func Share(dev Device, path string, o Options) (fs.Share, *FS, error) {
	v, err := Mount(dev, o)
	if err != nil {
		return fs.Share{}, nil, &opError{path, err}
	}
	return fs.Share{Path: path, Writable: !o.ReadOnly, Files: v}, v, nil
}
