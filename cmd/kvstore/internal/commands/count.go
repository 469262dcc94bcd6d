package commands

import (
	"github.com/spf13/cobra"

	"kvstore"
)

func newCount(a *app) *cobra.Command {
	output := rawFormat
	cmd := &cobra.Command{
		Use:   "count",
		Short: "Print the number of keys",
		Long: `Print the number of keys in the store.

This opens the store read-only, which takes as long as reading all of it.`,
		Example: `  kvstore count
  kvstore count -o json`,
		Args: argCount(0, 0),
		RunE: func(*cobra.Command, []string) error {
			return a.withReader(func(s *kvstore.Store) error {
				return a.report(output, countReport{s.Len()})
			})
		},
	}
	output.add(cmd)
	return cmd
}

// countReport is the output of count.
type countReport struct {
	Keys int `json:"keys"`
}

func (r countReport) rows() []row { return []row{{name: "keys", value: r.Keys}} }
