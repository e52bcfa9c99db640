#!/bin/sh
# install.sh USER FILE SLOT
#
# Writes a firmware into one of the light's two slots and has the next start
# run it. FILE is named firmware-VERSION.bin. On a laptop a slot is a file, and
# what runs is what the light's shadow reports.
set -eu
file=$2 slot=$3

version=${file#firmware-}
version=${version%.bin}
if [ "$file" != "firmware-$version.bin" ] || [ ! -f "$file" ]; then
    echo "there is no firmware $file" >&2
    exit 66
fi
running=$(cat running-slot 2>/dev/null || echo a)
case $slot in
a | b) ;;
other) if [ "$running" = a ]; then slot=b; else slot=a; fi ;;
*) echo "$slot is no slot" >&2 && exit 64 ;;
esac

cp -- "$file" "slot-$slot.new"
mv -- "slot-$slot.new" "slot-$slot"
echo "$slot" >running-slot.new
mv -- running-slot.new running-slot
# What the light reports changes with its next start, by one rename.
echo "$version" >firmware_version.new
sync firmware_version.new
mv -- firmware_version.new firmware_version
echo "firmware $version is in slot $slot"
