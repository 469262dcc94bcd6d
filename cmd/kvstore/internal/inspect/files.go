package inspect

import (
	"errors"
	"os"
)

// FileSize is a file in a data directory and its size.
type FileSize struct {
	File  string `json:"file"` // base name
	Bytes int64  `json:"bytes"`
}

// FileSizes are the files in a data directory that hold data.
type FileSizes struct {
	Snapshots []FileSize `json:"snapshots"`
	Segments  []FileSize `json:"segments"` // of the log
}

// Bytes returns the sum of all sizes.
func (f *FileSizes) Bytes() int64 {
	sum := int64(0)
	for _, files := range [][]FileSize{f.Snapshots, f.Segments} {
		for _, file := range files {
			sum += file.Bytes
		}
	}
	return sum
}

// ListFiles lists the snapshots and segments in dir, in the order of their
// numbers. It opens none.
func ListFiles(dir string) (FileSizes, error) {
	sizes := FileSizes{Snapshots: []FileSize{}, Segments: []FileSize{}}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return sizes, err
	}
	files, _, err := list(root)
	for _, f := range inOrder(&files) {
		var size int64
		if size, err = sizeOf(root, f.name); err != nil {
			break
		}
		into := &sizes.Segments
		if f.isSnapshot {
			into = &sizes.Snapshots
		}
		*into = append(*into, FileSize{f.name, size})
	}
	return sizes, errors.Join(err, root.Close())
}

// sizeOf returns the size of a file: that of the link itself if it leads to
// nothing that Open would read.
func sizeOf(root *os.Root, name string) (int64, error) {
	info, err := root.Stat(name)
	if err != nil {
		info, err = root.Lstat(name)
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
