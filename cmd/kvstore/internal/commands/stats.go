package commands

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"kvstore"
	"kvstore/cmd/kvstore/internal/host"
	"kvstore/cmd/kvstore/internal/inspect"
	"kvstore/cmd/kvstore/internal/lines"
)

func newStats(a *app) *cobra.Command {
	var flags reportFlags
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Print figures about the store",
		Long: `Print the number of keys, the time of the last write, the files on disk, the memory that
the store takes, and what recovery found when this command opened the store.

  keys      keys in the store
  expiring  keys that have a deadline; and how many of them are due, which no command
            shows: a program that opens the store for writing deletes them
  written   time of the last commit
  disk      bytes of all snapshots and segments, including reserved space
  segments  number of segments of the log, their bytes, the first and the last one;
            --json and verify name each of them
  log       bytes of the log that no snapshot covers, which recovery replayed
  memory    resident memory of this process, which is mainly the store
  recovery  what recovery loaded and replayed, how long it took, and what it dropped
            because a crash had cut it off

This opens the store read-only, which takes as long as reading all of it.`,
		Example: `  kvstore stats
  kvstore stats --json | jq .keys`,
		Args: argCount(0, 0),
		RunE: func(*cobra.Command, []string) error {
			dir, err := a.dataDir()
			if err != nil {
				return err
			}
			return a.withReader(func(s *kvstore.Store) error {
				r, err := newStatsReport(dir, s)
				if err != nil {
					return err
				}
				return a.report(flags.format(), r)
			})
		},
	}
	flags.add(cmd)
	return cmd
}

// statsReport is the output of stats.
type statsReport struct {
	Dir  string `json:"dir"`
	Keys int    `json:"keys"`
	expiryReport
	Written time.Time `json:"written,omitzero"`
	Disk    int64     `json:"disk_bytes"`
	Log     int64     `json:"log_bytes"`
	Memory  int64     `json:"memory_bytes"`
	inspect.FileSizes
	Recovery recoveryReport `json:"recovery"`
}

// expiryReport is the part of the output about deadlines.
type expiryReport struct {
	Expiring   int     `json:"expiring"`
	Due        int     `json:"due"`
	LagSeconds float64 `json:"expire_lag_seconds"`
	Expired    uint64  `json:"expired"`
	ClockSteps uint64  `json:"clock_steps"`
}

// recoveryReport is kvstore.Recovery for JSON.
type recoveryReport struct {
	Snapshot string            `json:"snapshot"`
	Groups   uint64            `json:"groups"`
	Entries  uint64            `json:"entries"`
	Seconds  float64           `json:"seconds"`
	Dropped  []inspect.Dropped `json:"dropped"`
}

func newStatsReport(dir string, s *kvstore.Store) (*statsReport, error) {
	files, err := inspect.ListFiles(dir)
	if err != nil {
		return nil, err
	}
	memory, err := host.ResidentBytes()
	if err != nil {
		return nil, err
	}
	stats := s.Stats()
	r := &statsReport{
		Dir: dir, Keys: stats.Keys, Disk: files.Bytes(), Log: stats.WALBytes, Memory: memory, FileSizes: files,
		expiryReport: expiryReport{
			Expiring: stats.Expiring, Due: stats.Due, LagSeconds: stats.ExpireLag.Seconds(),
			Expired: stats.Expired, ClockSteps: stats.ClockSteps,
		},
		Recovery: newRecoveryReport(stats.Recovery),
	}
	if stats.Version > 0 {
		r.Written = time.Unix(0, stats.Version)
	}
	return r, nil
}

func newRecoveryReport(found kvstore.Recovery) recoveryReport {
	r := recoveryReport{
		Snapshot: found.Snapshot, Groups: found.Groups, Entries: found.Entries, Seconds: found.Took.Seconds(),
		Dropped: []inspect.Dropped{},
	}
	for _, d := range found.Dropped {
		r.Dropped = append(r.Dropped, inspect.Dropped(d))
	}
	return r
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
		r.expiryRow(),
		written,
		{"disk", r.Disk, bytesText(r.Disk)},
		{"log", r.Log, bytesText(r.Log)},
		{"memory", r.Memory, bytesText(r.Memory)},
	}
	rows = append(rows, fileRows("snapshot", r.Snapshots)...)
	rows = append(rows, fileRows("segment", r.Segments)...)
	return append(rows, r.Recovery.rows()...)
}

func (r *expiryReport) expiryRow() row {
	text := humanize.Comma(int64(r.Expiring))
	if r.Due > 0 {
		lag := time.Duration(r.LagSeconds * float64(time.Second))
		text += fmt.Sprintf(", %s due, since %s", humanize.Comma(int64(r.Due)), lines.Remaining(lag))
	}
	return row{"expiring", r.Expiring, text}
}

func (r *recoveryReport) rows() []row {
	from := r.Snapshot
	if from == "" {
		from = "no snapshot"
	}
	took := time.Duration(r.Seconds * float64(time.Second)).Round(time.Microsecond)
	rows := []row{{"recovery", from, fmt.Sprintf("%s and %s in %s of the log, in %v",
		from, counted(r.Entries, "write"), counted(r.Groups, "group"), took)}}
	for i := range r.Dropped {
		rows = append(rows, row{"dropped", r.Dropped[i].File, droppedText(&r.Dropped[i])})
	}
	return rows
}

// fileRows returns a row for all files of a kind, however many there are.
func fileRows(kind string, files []inspect.FileSize) []row {
	switch len(files) {
	case 0:
		return nil
	case 1:
		return []row{{kind, files[0].File, files[0].File + ", " + bytesText(files[0].Bytes)}}
	}
	sum := int64(0)
	for _, f := range files {
		sum += f.Bytes
	}
	first, last := files[0].File, files[len(files)-1].File
	text := fmt.Sprintf("%s, %s, from %s to %s", humanize.Comma(int64(len(files))), bytesText(sum), first, last)
	return []row{{kind + "s", len(files), text}}
}

// bytesText is a size for people.
func bytesText(n int64) string { return humanize.Bytes(uint64(max(n, 0))) }
