// Command bootstrap is the refresh function as every platform starts it.
package main

import (
	"weboffice-functions/functions/refresh"
	"weboffice-functions/shared/app"
)

func main() { app.Main(refresh.New) }
