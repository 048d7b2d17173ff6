// Command bootstrap is the generate function as every platform starts it.
package main

import (
	"weboffice-functions/functions/generate"
	"weboffice-functions/shared/app"
)

func main() { app.Main(generate.New) }
