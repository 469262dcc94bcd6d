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

The store is opened read-only, which takes as long as reading all of it.`,
		Example: `  kvstore count
  kvstore count -o json`,
		Args: takes(0, 0),
		RunE: func(*cobra.Command, []string) error {
			return a.reading(func(s *kvstore.Store) error {
				return a.report(output, countReport{s.Len()})
			})
		},
	}
	output.add(cmd)
	return cmd
}

// countReport is what count prints.
type countReport struct {
	Keys int `json:"keys"`
}

func (r countReport) rows() []row { return []row{{name: "keys", value: r.Keys}} }
