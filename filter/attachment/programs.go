package attachment

import (
	"slices"
	"strings"
)

// Programs returns the extensions that are refused by default: what a desktop runs, or
// opens so that something runs. They are those that Gmail and Outlook refuse, without
// the sources of programs and the data that Outlook refuses too.
func Programs() []string { return slices.Clone(programs) }

// ProgramTypes returns the content types that are refused by default.
func ProgramTypes() []string { return slices.Clone(programTypes) }

// programs are constant.
var programs = strings.Fields(`
	ade adp apk app application appref-ms appx appxbundle bas bat cab chm cmd cnt com cpl desktop
	diagcab diagcfg diagpack diagpkg dll dmg ex ex_ exe fxp gadget grp hlp hpj hta htc img inf ins iso isp its
	jar jnlp js jse lib library-ms lnk mad maf mag mam maq mar mas mat mau mav maw mcf mda mde mdt mdw mdz
	mjs msc msh msh1 msh1xml msh2 msh2xml mshxml msi msix msixbundle msp mst nsh ops osd pcd pif pkg plg prf prg
	ps1 ps1xml ps2 ps2xml psc1 psc2 psd1 psdm1 psm1 reg scf scr sct search-ms settingcontent-ms shb shs
	sys theme udl url vb vbe vbp vbs vhd vhdx vsmacros vsw vxd webpnp website ws wsb wsc wsf wsh xbap xll xnk`)

var programTypes = strings.Fields(`
	application/hta application/java-archive application/vnd.android.package-archive
	application/vnd.microsoft.portable-executable application/x-bat application/x-dosexec application/x-executable
	application/x-java-archive application/x-java-jnlp-file application/x-ms-application application/x-ms-installer
	application/x-ms-shortcut application/x-msdos-program application/x-msdownload application/x-msi application/x-winexe`)
