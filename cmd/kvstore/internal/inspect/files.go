package inspect

import (
	"os"
	"strings"
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

// ListFiles lists the snapshots and segments in dir by their names. It opens
// none. docs/FORMAT.md specifies the names.
func ListFiles(dir string) (FileSizes, error) {
	files := FileSizes{Snapshots: []FileSize{}, Segments: []FileSize{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return files, err
	}
	for _, entry := range entries {
		into := &files.Snapshots
		switch name := entry.Name(); {
		case strings.HasPrefix(name, "snapshot-") && strings.HasSuffix(name, ".kvs"):
		case strings.HasPrefix(name, "wal-") && strings.HasSuffix(name, ".log"):
			into = &files.Segments
		default:
			continue
		}
		info, err := entry.Info()
		if err != nil {
			return files, err
		}
		*into = append(*into, FileSize{entry.Name(), info.Size()})
	}
	return files, nil
}
