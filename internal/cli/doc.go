// Package cli is the kit that the commands are made of: where they read and write, how results are
// printed, how they ask, reach the configuration, the broker and WeChat's API, and how they end.
// It knows no noun; those are the packages below it, one for each, with a file for each verb.
// Package root puts them together.
//
// A run of the program is an Env. A noun has a constructor
//
//	func New(env *cli.Env) *cobra.Command
//
// and a verb is a struct of its flags and of the parts of the Env that it uses:
//
//	type list struct {
//		streams *cli.Streams
//		broker  *cli.Broker
//		limit   int
//	}
//
// Its run method calls an operation of a package below, and prints what that returns with List,
// Record or Streams.Answer. What is printed is one struct, which is also the JSON of -o json.
// It ends with an error that says how it went (Usagef, Nothingf, Partlyf) or any other, which is
// exit code 1.
//
// Tables are laid out by code of this package: a row is text and a style, a column may be told to
// give way, and nothing else is needed of a table. Where a line may end and how wide a character is
// comes from uniseg, which follows Unicode's rules and so knows Chinese marks and emoji. A library
// for tables would only pad: none breaks Chinese text by those rules.
package cli
