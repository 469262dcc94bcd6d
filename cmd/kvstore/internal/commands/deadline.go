package commands

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"kvstore"
	"kvstore/cmd/kvstore/internal/lines"
)

func newExpire(a *app) *cobra.Command {
	var (
		flags    encodingFlags
		deadline deadlineFlags
	)
	cmd := &cobra.Command{
		Use:   "expire KEY",
		Short: "Set or change the deadline of a key",
		Long: `Give KEY a deadline, at which it is gone, in place of the one that it may have: --ttl is
counted from now, --until is a time. The value stays. A time that has passed deletes the
key. The exit code is 1 if the key is absent, and 0 when the change is on disk.

The command opens and closes the store for this, which takes as long as reading all of
it and writing a snapshot.`,
		Example: `  kvstore expire session --ttl 30m
  kvstore expire session --until 2026-12-31T23:59:59Z`,
		Args: argCount(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.expire(&flags, args, deadline.at)
		},
	}
	flags.add(cmd)
	deadline.add(cmd)
	cmd.MarkFlagsOneRequired(ttlName, untilName)
	return cmd
}

func newPersist(a *app) *cobra.Command {
	var flags encodingFlags
	cmd := &cobra.Command{
		Use:   "persist KEY",
		Short: "Remove the deadline of a key, so that it stays",
		Long: `Remove the deadline of KEY, so that the key stays until it is deleted. A key without a
deadline is no error. The exit code is 1 if the key is absent, and 0 when the change is
on disk.

The command opens and closes the store for this, which takes as long as reading all of
it and writing a snapshot.`,
		Example: `  kvstore persist session`,
		Args:    argCount(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.expire(&flags, args, func(*kvstore.Store) time.Time { return time.Time{} })
		},
	}
	flags.add(cmd)
	return cmd
}

// expire changes the deadline of the key that args name.
func (a *app) expire(flags *encodingFlags, args []string, deadline func(s *kvstore.Store) time.Time) error {
	keys, err := flags.keys(args)
	if err != nil {
		return err
	}
	return a.withWriter(toWrite, func(_ context.Context, s *kvstore.Store) error {
		found, err := s.Expire(keys[0], deadline(s))
		if err == nil && !found {
			err = notFoundError{keys[0]}
		}
		return err
	})
}

// The names of deadlineFlags.
const (
	ttlName   = "ttl"
	untilName = "until"
)

// deadlineFlags are --ttl and --until.
type deadlineFlags struct {
	ttl   ttlFlag
	until untilFlag
}

func (f *deadlineFlags) add(cmd *cobra.Command) {
	cmd.Flags().Var(&f.ttl, ttlName, "the key is gone after this `duration`, such as 90s or 720h")
	cmd.Flags().Var(&f.until, untilName, "the key is gone at this `time` of RFC 3339, such as 2026-12-31T23:59:59Z")
	cmd.MarkFlagsMutuallyExclusive(ttlName, untilName)
}

// at returns the deadline by the store's clock, the zero time for none.
func (f *deadlineFlags) at(s *kvstore.Store) time.Time {
	if f.ttl > 0 {
		return s.Now().Add(time.Duration(f.ttl))
	}
	return time.Time(f.until)
}

// ttlFlag is the value of --ttl: a positive duration, or 0 if it is not given.
type ttlFlag time.Duration

// String, Type and Set make ttlFlag a flag.
func (f *ttlFlag) String() string {
	if *f == 0 {
		return "" // so that help shows no default
	}
	return time.Duration(*f).String()
}

func (f *ttlFlag) Type() string { return "duration" }

func (f *ttlFlag) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err == nil && d <= 0 {
		err = errors.New("must be more than 0")
	}
	*f = ttlFlag(d)
	return err
}

// untilFlag is the value of --until, the zero time if it is not given.
type untilFlag time.Time

// String, Type and Set make untilFlag a flag.
func (f *untilFlag) String() string {
	if time.Time(*f).IsZero() {
		return "" // so that help shows no default
	}
	return string(lines.AppendTime(nil, time.Time(*f)))
}

func (f *untilFlag) Type() string { return "time" }

func (f *untilFlag) Set(text string) error {
	t, err := lines.ParseTime(text)
	*f = untilFlag(t)
	return err
}
