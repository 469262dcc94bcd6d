package commands

import (
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"kvstore"
)

func newStats(a *app) *cobra.Command {
	var (
		output = tableFormat
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Print figures about the store",
		Long: `Print the number of keys, when the last of them was written, the files on disk, the
memory that the store takes, and what recovery found when it was opened just now.

  keys      that are in the store
  written   time of the last commit
  disk      bytes of all snapshots and segments, with space that is reserved
  log       bytes of the log that no snapshot covers: what had to be replayed
  memory    of this process, which holds the whole store and little else
  recovery  what was loaded and replayed, how long it took, and what was left out
            because a crash had cut it off

The store is opened read-only, which takes as long as reading all of it.`,
		Example: `  kvstore stats
  kvstore stats --json | jq .keys`,
		Args: takes(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				output = jsonFormat
			}
			dir, err := a.dataDir()
			if err != nil {
				return err
			}
			return a.reading(func(s *kvstore.Store) error {
				r, err := newStatsReport(dir, s)
				if err != nil {
					return err
				}
				return a.report(output, r)
			})
		},
	}
	output.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "the same as -o json")
	cmd.MarkFlagsMutuallyExclusive("json", "output")
	return cmd
}

// statsReport is what stats prints.
type statsReport struct {
	Dir     string    `json:"dir"`
	Keys    int       `json:"keys"`
	Written time.Time `json:"written,omitzero"`
	Disk    int64     `json:"disk_bytes"`
	Log     int64     `json:"log_bytes"`
	Memory  int64     `json:"memory_bytes"`
	dataFiles
	Recovery recoveryReport `json:"recovery"`
}

// recoveryReport is kvstore.Recovery for JSON.
type recoveryReport struct {
	Snapshot string          `json:"snapshot"`
	Groups   uint64          `json:"groups"`
	Entries  uint64          `json:"entries"`
	Seconds  float64         `json:"seconds"`
	Dropped  []droppedReport `json:"dropped"`
}

// droppedReport is kvstore.Dropped for JSON.
type droppedReport struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes"`
}

func newStatsReport(dir string, s *kvstore.Store) (*statsReport, error) {
	files, err := listFiles(dir)
	if err != nil {
		return nil, err
	}
	view, err := s.View()
	if err != nil {
		return nil, err
	}
	memory, err := residentBytes()
	if err := errors.Join(err, view.Close()); err != nil {
		return nil, err
	}
	stats := s.Stats()
	found := stats.Recovery
	r := &statsReport{
		Dir: dir, Keys: stats.Keys, Log: stats.WALBytes, Memory: memory, dataFiles: files,
		Recovery: recoveryReport{
			Snapshot: found.Snapshot, Groups: found.Groups, Entries: found.Entries, Seconds: found.Took.Seconds(),
			Dropped: []droppedReport{},
		},
	}
	if version := view.Version(); version > 0 {
		r.Written = time.Unix(0, version)
	}
	for _, file := range append(files.Snapshots, files.Segments...) {
		r.Disk += file.Bytes
	}
	for _, d := range found.Dropped {
		r.Recovery.Dropped = append(r.Recovery.Dropped, droppedReport(d))
	}
	return r, nil
}

func (r *statsReport) rows() []row {
	written := row{"written", "", "never"}
	if !r.Written.IsZero() {
		text := r.Written.Format(time.RFC3339Nano)
		written = row{"written", text, text + ", " + humanize.Time(r.Written)}
	}
	rows := []row{
		{"dir", r.Dir, ""},
		{"keys", r.Keys, humanize.Comma(int64(r.Keys))},
		written,
		{"disk", r.Disk, bytesText(r.Disk)},
		{"log", r.Log, bytesText(r.Log)},
		{"memory", r.Memory, bytesText(r.Memory)},
	}
	rows = append(rows, fileRows("snapshot", r.Snapshots)...)
	rows = append(rows, fileRows("segment", r.Segments)...)
	from := r.Recovery.Snapshot
	if from == "" {
		from = "no snapshot"
	}
	took := time.Duration(r.Recovery.Seconds * float64(time.Second)).Round(time.Microsecond)
	rows = append(rows, row{"recovery", from, fmt.Sprintf("%s and %s writes in %s groups of the log, in %v",
		from, humanize.Comma(int64(r.Recovery.Entries)), humanize.Comma(int64(r.Recovery.Groups)), took)})
	for _, d := range r.Recovery.Dropped {
		rows = append(rows, row{"dropped", d.File, fmt.Sprintf("%s, %d bytes at offset %d", d.File, d.Bytes, d.Offset)})
	}
	return rows
}
