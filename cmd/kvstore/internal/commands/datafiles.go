package commands

import (
	"os"
	"strings"

	"github.com/dustin/go-humanize"
)

// dataFile is a file in a data directory.
type dataFile struct {
	File  string `json:"file"` // base name
	Bytes int64  `json:"bytes"`
}

// dataFiles are those of them that hold data.
type dataFiles struct {
	Snapshots []dataFile `json:"snapshots"`
	Segments  []dataFile `json:"segments"` // of the log
}

// listFiles reads the directory. docs/FORMAT.md has the names.
func listFiles(dir string) (dataFiles, error) {
	files := dataFiles{Snapshots: []dataFile{}, Segments: []dataFile{}}
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
		*into = append(*into, dataFile{entry.Name(), info.Size()})
	}
	return files, nil
}

func fileRows(name string, files []dataFile) []row {
	var rows []row
	for _, f := range files {
		rows = append(rows, row{name, f.File, f.File + ", " + bytesText(f.Bytes)})
	}
	return rows
}

// bytesText is a size for people.
func bytesText(n int64) string { return humanize.Bytes(uint64(max(n, 0))) }
